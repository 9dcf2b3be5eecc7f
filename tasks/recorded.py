"""Tasks made of recorded preferences: rows of files become splits, pairs and demonstrations, and a model's size decides the defaults."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import chat, sources, splits, twins
from harness.data.files import READERS, SAVED, readable, split_of
from harness.data.mixtures import lacking
from harness.data.places import Place, parse
from harness.data.sources import Row, Source
from harness.errors import HarnessError, near
from harness.types import Defaults, Demonstration, Setting, Task

PRETRAINED_PPO: Mapping[str, Setting] = {
    "reward_learning_rate": 1e-5,
    "value_learning_rate": 1e-5,
    "reward_pooling": "last",
    "reward_batch": 8,
}

PAIRS, LABELS = "pairs", "labelled responses"  # what data consist of, in the notes of a task
CHAT_SHARE = 0.5  # of the prompts, from which data are chat: sets of dialogues hold nothing else, and a post that quotes one stays a post


@dataclass(frozen=True)
class Recorded:
    """Rows by split, disjoint by prompt, with what the report says of where they come from and a digest of all files.

    ``lacking`` is what to say of its labels of single responses where there are too few pairs.
    """

    name: str
    parts: Mapping[str, Sequence[Row]]
    counts: tuple[str, ...]
    digest: str
    lacking: str = ""


def of(source: Source) -> Recorded:
    """Returns the rows of one source by split, with its counts and where public data are from."""
    return Recorded(
        source.name, sources.by_split(source.rows), (source.counts(), *source.provenance()), source.sha256, lacking(source.parts)
    )


def read(path: Path, *, limit: int | None = None, subset: str = "", keep: Callable[[Row], bool] = lambda row: True) -> Recorded:
    """Returns the rows that ``keep`` says of a source, or of all files in a folder's subfolders whose names begin with ``subset``.

    ``limit`` rows of each file are read. All files are one kind of data: pairs, or labels of single responses.
    Files named ``test`` are the evaluation split, where there are others beside them; rows that share a prompt with it are left out of
    the rest. Raises HarnessError where nothing is found or can be read.
    """
    folder, files, filters = files_of(path, subset)
    read = dict(zip(files, sources.read_alike([f"{file}{filters}" for file in files], limit=limit), strict=True))
    kept = {file: [row for row in source.rows if keep(row)] for file, source in read.items()}
    tests = [file for file in files if split_of(Path(file.name)) == "test"]
    held = [row for file in tests for row in kept[file]] if len(tests) < len(files) else []
    prompts = {row.prompt for row in held}
    rest = [row for file in files if not (held and file in tests) for row in kept[file] if row.prompt not in prompts]
    parts = sources.by_split(rest)
    if held:
        parts["train"], parts["evaluation"] = [*parts["train"], *parts["evaluation"]], held
        sources.refuse_one_label(parts)
    called = {file: str(file.relative_to(folder.parent)) if folder else read[file].name for file in files}
    counts = [f"{called[file]}: {source.counts()}, {len(kept[file])} taken" for file, source in read.items()]
    counts += dict.fromkeys(line for source in read.values() for line in source.provenance())
    digest = hashlib.sha256("".join(source.sha256 for source in read.values()).encode()).hexdigest()
    said = lacking([part for source in read.values() for part in source.parts])
    return Recorded(folder.name if folder else read[path].name, parts, tuple(counts), digest, said)


def files_of(path: Path, subset: str = "") -> tuple[Path | None, list[Path], str]:
    """Returns a folder, its data files in the subfolders whose names begin with ``subset``, sorted, and the filters behind it.

    Of everything else it is no folder and ``path`` itself, as ``--data`` says it: a file, a split of a folder, an id on the hub, a
    mixture, or a folder that ``save_to_disk`` wrote. Raises HarnessError where one of its parts lies in a folder of another name.
    """
    places = parse(str(path))
    folder = Path(places[0].where).expanduser()
    if len(places) > 1 or places[0].split or not folder.is_dir() or _saved(folder):
        _refuse_elsewhere(places, subset)
        return None, [path], ""
    files = [each for each in sorted(folder.rglob("*")) if readable(each.relative_to(folder).as_posix())]
    found = [each for each in files if each.parent.name.startswith(subset)]
    if not found:
        held = sorted({each.parent.name for each in files})
        inside = f"of {subset!r} (it has {', '.join(held)}).{near(subset, held)}" if held else f"({', '.join(READERS)})"
        raise HarnessError(f"the data folder '{folder}' holds no data file {inside}")
    return folder, found, "".join(f"+{each}" for each in places[0].filters)


def _refuse_elsewhere(places: Sequence[Place], subset: str) -> None:
    for place in places:
        if not (held := _folder_of(place)).startswith(subset):
            said = f"is in the folder {held!r}" if held else "names no folder"
            raise HarnessError(f"the subset {subset!r} takes folders whose names begin so, and '{place.where}' {said}; name one in --data.")


def _saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in SAVED)


def _folder_of(place: Place) -> str:
    """The name of the folder that holds a part: a folder's own, or that which a file lies in; '' where an id on the hub names none."""
    if place.on_hub:
        return Path(place.folder).name
    path = Path(place.where).expanduser().resolve()
    return path.name if path.is_dir() else path.parent.name


def paired(recorded: Recorded, *, notes: tuple[str, ...], algorithms: tuple[str, ...], **fields: Any) -> Task:
    """Returns the task made of recorded pairs or labels, a reward model fitted on ``judge_pairs`` judging; ``fields`` are ``Task``'s.

    It is chat where prompts are conversations (``CHAT_SHARE``). Raises HarnessError where a split is left without pairs.
    """
    parts = recorded.parts
    pairs, judge, tuner, heldout = (sources.pairs(parts[name]) for name in ("train", "judge", "tuner", "evaluation"))
    demonstrations, tuning, evaluation = (sources.demonstrations(parts[name]) for name in ("train", "tuning", "evaluation"))
    for what, found in {"training pairs": pairs, "judge pairs": judge, "held-out pairs": heldout}.items():
        if not found:
            said = "; ".join(filter(None, (*recorded.counts, recorded.lacking)))
            raise HarnessError(f"the data '{recorded.name}' has too few usable rows, the split leaves no {what}: {said}")
    rows, prompts = splits.epochs(len(demonstrations)), splits.epochs(len(demonstrations))
    kind = LABELS if pairs[0].single else PAIRS
    split = f"{len(pairs)} {kind} for training, {len(judge)} for the judge, {len(tuner)} for a tuning judge, {len(heldout)} held out"
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
        notes=(
            *(_of_labels(notes) if pairs[0].single else notes),
            *recorded.counts,
            f"split by the hash of the prompt: {split}",
            *_mixed_kinds(demonstrations),
        ),
        chat=_is_chat(demonstrations),
        **fields,
    )


def _of_labels(notes: Iterable[str]) -> Iterable[str]:
    """A task's own notes, as they read where its data label responses one by one."""
    return (note.replace(f"judge {PAIRS}", f"judge's {LABELS}") for note in notes)


def _dialogues(rows: Sequence[Demonstration]) -> int:
    """How many of the prompts are dialogues as HH writes them."""
    return sum(chat.TURN.match(row.prompt.strip()) is not None for row in rows)


def _is_chat(rows: Sequence[Demonstration]) -> bool:
    return _dialogues(rows) >= CHAT_SHARE * max(1, len(rows))


def _mixed_kinds(rows: Sequence[Demonstration]) -> list[str]:
    """What to say of data in which some prompts are dialogues and others are not."""
    found, read = _dialogues(rows), "chat" if _is_chat(rows) else "plain text"
    said = f"{found} of {len(rows)} training prompts are dialogues, so all are read as {read} (--chat says otherwise)"
    return [said] if 0 < found < len(rows) else []


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
