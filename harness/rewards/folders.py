"""Reward models in folders, ours and anybody's, as one thing that scores texts and says what that cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.data.shapes import folder_shape
from harness.errors import HarnessError
from harness.judges import classifier
from harness.rewards.reading import divided
from harness.types import Array, Group

HEAD, FACTS = "head.safetensors", "reward.json"
BATCH = 16  # inputs at a time
POOLED_BATCH = 64


@dataclass
class Cost:
    """What was asked of models: forwards of a text, tokens that they read, FLOPs (None where a model's are not known), texts cut."""

    forwards: int = 0
    tokens: int = 0
    flops: float | None = 0.0
    cut: int = 0

    def __str__(self) -> str:
        """For a reader."""
        flops = "FLOPs unknown" if self.flops is None else f"{self.flops:.4g} FLOPs"
        return f"{self.forwards:,} forwards, {self.tokens:,} tokens read, {flops}" + (f"; {self.cut:,} texts were cut" if self.cut else "")


class Reader(Protocol):
    """Scores texts in nats, higher is better, and adds up in ``cost`` what that took."""

    cost: Cost

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> Array:
        """(responses,), in nats."""
        ...


def reader(folder: Path) -> Reader:
    """What reads the reward model of a folder: a sequence classifier of one output, or one that ``harness reward`` pooled over tokens.

    Raises HarnessError in one line where it is neither.
    """
    if not folder.is_dir():
        raise HarnessError(f"reward model {str(folder)!r}: no such folder; 'harness reward train' makes one.")
    if (folder / HEAD).is_file():
        return Pooled(folder)
    labels = classifier.labels_of(classifier.classifying(folder, f"reward model {str(folder)!r}"))
    if len(labels) > 1:
        said = f"it has {len(labels)} labels ({', '.join(labels)}); a reward model has one output"
        raise HarnessError(f"reward model {str(folder)!r}: {said}. 'harness judge --judge FOLDER#LABEL' asks a label.")
    return Classified(folder)


class Classified:
    """A sequence classifier, loaded when first asked. FLOPs are 2 per weight and token and 4 L d per token and position, as elsewhere."""

    def __init__(self, folder: Path) -> None:
        """``folder`` holds one of one output."""
        self.folder, self.cost = folder, Cost()
        self._loaded: tuple[Any, Any] | None = None

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> Array:
        """See ``Reader``; what is too long loses the beginning of its prompt, then the end of its response."""
        if self._loaded is None:
            self._loaded = classifier.loaded(self.folder, "reward model")
        model, tokenizer = self._loaded
        most = classifier.longest(model, tokenizer)
        read = [classifier.fitted(tokenizer, most, *each) for each in zip(prompts, responses, strict=True)]
        inputs = [each for each, _ in read]
        found = np.zeros(len(inputs))
        order = sorted(range(len(inputs)), key=lambda place: len(inputs[place].ids))  # of like length together, so that little is padded
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            found[chosen] = classifier.logits(model, [inputs[place] for place in chosen])[:, 0]
        self._count([len(each.ids) for each in inputs], sum(cut for _, cut in read))
        return found

    def _count(self, lengths: Sequence[int], cut: int) -> None:
        self.cost.forwards, self.cost.tokens = self.cost.forwards + len(lengths), self.cost.tokens + sum(lengths)
        self.cost.cut += cut
        try:
            shape = folder_shape(self.folder)
        except HarnessError:  # no model whose FLOPs are known
            self.cost.flops = None
            return
        if self.cost.flops is not None:
            self.cost.flops += sum(shape.forward(length, length * length, 0) for length in lengths)


class Pooled:
    """A reward model that sums or averages one score per token of the response, loaded when first asked; prompts shared are read once."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is as ``harness.models.storage.save_reward`` writes it."""
        self.folder, self.cost = folder, Cost()
        self._loaded: tuple[Any, Any] | None = None

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> Array:
        """See ``Reader``; nothing is cut."""
        from harness.models import storage
        from harness.training.ledger import Ledger

        if self._loaded is None:
            self._loaded = storage.load_reward(self.folder, Ledger(float("inf")))[0], storage.load_tokenizer(self.folder)
        reward, tokenizer = self._loaded
        groups = [Group(*divided(tokenizer, *each)) for each in zip(prompts, ((each,) for each in responses), strict=True)]
        ledger = reward.model.ledger
        with ledger.phase("evaluation"):
            parts = [reward.scores(groups[start : start + POOLED_BATCH]) for start in range(0, len(groups), POOLED_BATCH)]
        self.cost = Cost(
            self.cost.forwards + len(groups),
            self.cost.tokens + sum(len(group.prompt) + len(group.responses[0]) for group in groups),
            ledger.canonical["evaluation"],
        )
        return np.concatenate([part.double().cpu().numpy() for part in parts]) if parts else np.zeros(0)
