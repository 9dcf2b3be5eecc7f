"""Tasks made of recorded preferences: rows of files become splits, pairs and demonstrations, and a model's size decides the defaults."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import chat, sources, splits, twins
from harness.data.files import READERS, SAVED, readable, split_of
from harness.data.sources import Row, Source
from harness.errors import HarnessError, near
from harness.types import Defaults, Setting, Task

PRETRAINED_PPO: Mapping[str, Setting] = {
    "reward_learning_rate": 1e-5,
    "value_learning_rate": 1e-5,
    "reward_pooling": "last",
    "reward_batch": 8,
}


@dataclass(frozen=True)
class Recorded:
    """Rows by split, disjoint by prompt, with what the report says of where they come from and a digest of all files."""

    name: str
    parts: Mapping[str, Sequence[Row]]
    counts: tuple[str, ...]
    digest: str


def of(source: Source) -> Recorded:
    """Returns the rows of one source by split, with its counts and where public data are from."""
    return Recorded(source.name, sources.by_split(source.rows), (source.counts(), *source.provenance()), source.sha256)


def read(path: Path, *, limit: int | None = None, subset: str = "", keep: Callable[[Row], bool] = lambda row: True) -> Recorded:
    """Returns the rows that ``keep`` says of a file, or of all files in a folder's subfolders whose names begin with ``subset``.

    ``limit`` rows of each file are read.
    Files named ``test`` are the evaluation split, where there are others beside them; rows that share a prompt with it are left out of
    the rest. Raises HarnessError where nothing is found or can be read.
    """
    files = files_of(path, subset)
    read = {file: sources.read_rows(file, limit=limit) for file in files}
    kept = {file: [row for row in source.rows if keep(row)] for file, source in read.items()}
    tests = [file for file in files if split_of(Path(file.name)) == "test"]
    held = [row for file in tests for row in kept[file]] if len(tests) < len(files) else []
    prompts = {row.prompt for row in held}
    rest = [row for file in files if not (held and file in tests) for row in kept[file] if row.prompt not in prompts]
    parts = sources.by_split(rest)
    if held:
        parts["train"], parts["evaluation"] = [*parts["train"], *parts["evaluation"]], held
    counts = [f"{file.relative_to(path.parent)}: {source.counts()}, {len(kept[file])} taken" for file, source in read.items()]
    counts += dict.fromkeys(line for source in read.values() for line in source.provenance())
    digest = hashlib.sha256("".join(source.sha256 for source in read.values()).encode()).hexdigest()
    return Recorded(path.name, parts, tuple(counts), digest)


def files_of(path: Path, subset: str = "") -> list[Path]:
    """Returns the file itself, or the data files of a folder in the subfolders whose names begin with ``subset``, sorted.

    A folder that ``save_to_disk`` wrote is one source.
    """
    if not path.is_dir() or (not subset and any((path / name).is_file() for name in SAVED)):
        return [path]
    files = [each for each in sorted(path.rglob("*")) if readable(each.relative_to(path).as_posix())]
    found = [each for each in files if each.parent.name.startswith(subset)]
    if not found:
        held = sorted({each.parent.name for each in files})
        inside = f"of {subset!r} (it has {', '.join(held)}).{near(subset, held)}" if held else f"({', '.join(READERS)})"
        raise HarnessError(f"the data folder '{path}' holds no data file {inside}")
    return found


def paired(recorded: Recorded, *, notes: tuple[str, ...], algorithms: tuple[str, ...], **fields: Any) -> Task:
    """Returns the task made of recorded pairs, a reward model fitted on ``judge_pairs`` judging; ``fields`` are those of ``Task``.

    It is chat where a prompt is a conversation. Raises HarnessError where a split is left without pairs.
    """
    parts = recorded.parts
    pairs, judge, tuner, heldout = (sources.pairs(parts[name]) for name in ("train", "judge", "tuner", "evaluation"))
    demonstrations, tuning, evaluation = (sources.demonstrations(parts[name]) for name in ("train", "tuning", "evaluation"))
    for what, found in {"training pairs": pairs, "judge pairs": judge, "held-out pairs": heldout}.items():
        if not found:
            raise HarnessError(
                f"the data '{recorded.name}' has too few usable rows, the split leaves no {what}: {'; '.join(recorded.counts)}"
            )
    rows, prompts = splits.epochs(len(demonstrations)), splits.epochs(len(demonstrations))
    split = f"{len(pairs)} training pairs, {len(judge)} judge pairs, {len(tuner)} pairs for a tuning judge, {len(heldout)} held-out pairs"
    return Task(
        source=recorded.name,
        demonstrations=lambda generator, n: [demonstrations[index] for index in rows(generator, n)],
        training_prompts=lambda generator, n: [demonstrations[index].prompt for index in prompts(generator, n)],
        tuning=tuning,
        evaluation=evaluation,
        defaults=defaults(algorithms, len(pairs), len(demonstrations)),
        pairs=pairs,
        judge_pairs=judge,
        tuning_pairs=tuner,
        heldout_pairs=heldout,
        reward_probes=twins.TWINS,
        typical_tokens=sources.estimated_tokens(demonstrations),
        notes=(*notes, *recorded.counts, f"split by the hash of the prompt: {split}"),
        chat=any(chat.TURN.match(row.prompt.strip()) for row in demonstrations),
        **fields,
    )


def defaults(algorithms: tuple[str, ...], pairs: int, demonstrations: int) -> Defaults:
    """Returns defaults for a pretrained model of some hundred million parameters on a few hundred real rows: one pass of SFT."""
    return Defaults(
        algorithms=algorithms,
        model="",
        pairs=pairs,
        sft_steps=math.ceil(demonstrations / 8),
        sft_batch=8,
        sft_learning_rate=2e-5,
        batch_pairs=8,
        evaluation_prompts=64,
        mark_prompts=32,
        tuning_prompts=32,
        probe_prompts=0,
        opponent_samples=2,
        frontier_samples=0,
        settings={"*": {"learning_rate": 5e-6}, "ppo": PRETRAINED_PPO},
    )
