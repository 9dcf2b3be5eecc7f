"""Where a judge and a reward come from, and what it means when they come from the same place. Pure, no torch.

A policy trained on its judge is measured by how far it moved the judge, not by how good it is: that is an error. Where judge and reward
share less than themselves, training data, the labeller, or the weights they started from, a part of what is measured may be theirs
alone: that is a caveat, and a second judge is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Lineage:
    """The origin of a judge, a reward model, or the labels that a loss learns from; an empty field says that there is none.

    ``weights`` names what scores: fitted weights by their hash, a rule by its name and version. ``start`` names the weights that these
    were trained from, ``data`` the sets they were trained on, ``labeller`` whoever made the labels in them; a rule is its own labeller.
    """

    weights: str = ""
    start: str = ""
    data: tuple[str, ...] = ()
    labeller: str = ""

    def plain(self) -> dict[str, Any]:
        """As a record holds it."""
        return asdict(self)


def read(recorded: Mapping[str, Any] | None) -> Lineage | None:
    """The lineage in a record, or None where it has none."""
    if not isinstance(recorded, Mapping):
        return None
    texts = {name: str(recorded.get(name) or "") for name in ("weights", "start", "labeller")}
    data = recorded.get("data")
    return Lineage(**texts, data=tuple(map(str, data)) if isinstance(data, Sequence) and not isinstance(data, str) else ())


def error(judge: Lineage, reward: Lineage) -> str:
    """Why the judge cannot judge what was trained on the reward; empty where it can."""
    if judge.weights and judge.weights == reward.weights:
        return f"the judge is the reward that it was trained on ({judge.weights})"
    return ""


def caveats(judge: Lineage, reward: Lineage) -> list[str]:
    """What judge and reward share short of being one, a phrase each."""
    found = [f"the training data {name}" for name in sorted(set(judge.data) & set(reward.data))]
    if judge.labeller and judge.labeller == reward.labeller:
        found.append(f"the labeller {judge.labeller}")
    if judge.start and judge.start == reward.start:
        found.append(f"the weights that they were trained from ({judge.start})")
    return found
