"""What a reward model is made of and held against: labelled pairs of a task or of data, and the model that it starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import pinning, sources, splits
from harness.data.places import parse, written
from harness.data.shapes import PRESETS, check_folder
from harness.errors import HarnessError
from harness.plugins import registry
from harness.types import Array, Pair, Response, TokenPair

Say = Callable[[str], None]
Gold = Callable[[Sequence[str], Sequence[Response]], Array]


@dataclass(frozen=True)
class Asked:
    """Where pairs come from and how many: a task's name or file, or data as ``compare --data`` takes them.

    ``model`` is a folder or hub id, or of a task a preset too; ``heldout`` the share of the data's prompts that no fit sees.
    """

    word: str
    model: str | None = None
    split: str = ""
    revision: str = ""
    heldout: float = 0.1
    seed: int = 0
    limit: int | None = None
    quick: bool = False

    @property
    def is_task(self) -> bool:
        """Whether the word means a task: a file of one, or a name that no file or folder has."""
        if Path(self.word).suffix == ".py":
            return True
        return not Path(self.word).exists() and registry.canonical(self.word) in {e.name for e in registry.describe("tasks")}


@dataclass(frozen=True)
class Material:
    """Pairs to learn from and pairs held out, disjoint by prompt; ``base`` is what a reward model starts from, None where none was named.

    ``gold`` scores responses where the task knows what is right. ``facts`` say in a card where all this is from.
    """

    name: str
    train: Sequence[Pair]
    heldout: Sequence[Pair]
    base: Path | None
    gold: Gold | None
    facts: dict[str, Any]


def quiet() -> None:
    """Keep transformers' progress bars off what the commands print."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]


def gathered(asked: Asked, say: Say) -> Material:
    """The material of a task, whose own SFT model and pairs are those of ``compare`` at its seed, or of data; HarnessError in one line."""
    return _of_task(asked, say) if asked.is_task else _of_data(asked)


def _of_data(asked: Asked) -> Material:
    base = None if asked.model is None else _folder(asked.model)
    source = sources.read_rows(written(parse(pinning.pinned(asked.word, split=asked.split, revision=asked.revision))))
    pairs = sources.pairs(source.rows)
    if not pairs or pairs[0].single:
        raise HarnessError(f"{asked.word}: no labelled pair in it ({source.counts()}); chosen and rejected responses are wanted.")
    ordered = sorted(pairs, key=lambda pair: splits.share_of(f"reward\n{pair.prompt}"))[: asked.limit]
    held = [pair for pair in ordered if splits.share_of(f"heldout\n{pair.prompt}") < asked.heldout]
    kept = [pair for pair in ordered if splits.share_of(f"heldout\n{pair.prompt}") >= asked.heldout]
    facts = {"data": source.name if len(source.parts) == 1 else asked.word, "sha256": source.sha256, "rows": source.counts()}
    return Material(Path(asked.word).name, kept, held, base, None, facts)


def _folder(model: str) -> Path:
    if model in PRESETS:
        raise HarnessError(f"model {model}: a preset has no weights before it is trained; give a transformers folder, or a task's name.")
    return check_folder(model)


def _of_task(asked: Asked, say: Say) -> Material:
    from harness.commands import asked as asking
    from harness.running import stages

    entry = registry.find("tasks", asked.word)
    flags: dict[str, Any] = {"task": asked.word, "seeds": [asked.seed], "quick": asked.quick or None, "limit": asked.limit}
    flags |= {"model": asked.model}
    resolved, world = asking.resolve({name: value for name, value in flags.items() if value is not None}, None)
    say(f"{entry.name}: the SFT model and the pairs of seed {asked.seed}, as 'harness compare' makes and caches them")
    shared = stages.shared(resolved, asked.seed, lambda stage, share, loss: None)

    def text(pair: TokenPair) -> Pair:
        chosen, rejected = (Response(shared.tokens.text(ids), ids, ids[-1] == shared.tokens.eos) for ids in (pair.chosen, pair.rejected))
        return Pair(shared.tokens.prompt_text(pair.prompt), chosen, rejected, pair.agreement, pair.margin, pair.weight)

    scorer, column = shared.task.score, shared.task.judges[0]
    gold: Gold | None = None if scorer is None else (lambda prompts, responses: scorer(prompts, responses)[column])
    facts = {"task": world.name, "version": world.version, "seed": asked.seed, "labels": resolved.labels, "model": resolved.model}
    return Material(world.name, [*map(text, shared.pairs)], [*map(text, shared.heldout)], shared.sft, gold, facts)
