"""Whether a loss is constant: then its gradient is exactly 0 wherever the policy may be, and not only in one batch."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import HarnessError
from harness.plugins import cases
from harness.training.preference import PreferenceLoss
from harness.training.returned import place
from harness.types import Setting

SEEDS = 4  # lists of every length
SPREADS = (0.1, 5.0, 1000.0)  # nats of log-ratio: near the reference, where policies end, and beyond any margin
PROGRESS = (0.0, 0.5, 1.0)


def refuse(loss: PreferenceLoss, settings: Mapping[str, Setting]) -> None:
    """HarnessError in one line naming file and line where the gradient is 0 in every row of every drawn batch.

    A gradient of 0 in one batch says nothing: a hinge has none where every pair is beyond its margin, and a loss may begin late. So
    batches are drawn near the reference and far from it, at the beginning, the middle and the end of a budget. Of a loss that names
    ``state`` nothing is said, for what it is at first it need not stay.
    """
    if "state" not in loss.signature.arguments and not _slopes_somewhere(loss, settings):
        why = "its gradient is 0 in every row of every drawn batch"
        raise HarnessError(f"{place(loss.loss)}: algorithm '{loss.name}' is constant: {why}, so nothing can be learnt from it.")


def _slopes_somewhere(loss: PreferenceLoss, settings: Mapping[str, Setting]) -> bool:
    drawn = (
        {**cases.draw_case(seed, spread=spread), "progress": progress}
        for progress in PROGRESS
        for spread in SPREADS
        for seed in range(SEEDS)
    )
    return any(bool((slope != 0).any()) for case in drawn for slope in cases.gradients(loss, case, settings).values())
