"""What runs logged of their optimisation: curves of the loss, and means over the end of the budget with their range over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.report.points import Point
from harness.store.records import Row

LAST = 0.9  # share of the budget from which on a mean is taken: the learning rate has fallen, the batch is still noisy
LOSSES = ("loss", "policy_loss")  # what an algorithm minimises, by the names under which it is logged
LOGGED = {
    "loss": "loss",
    "policy_loss": "policy loss",
    "value_loss": "value loss",
    "gap": "gap, nats",
    "accuracy": "accuracy on the batch, share",
    "gradient_norm": "gradient norm",
    "clipped": "clipped steps, share",
    "clip_fraction": "clipped ratios, share",
    "value_explained_variance": "explained variance of the value",
    "entropy": "entropy, nats",
}


class Logged(NamedTuple):
    """A mean over the end of the budget, averaged over seeds, with the lowest and highest seed and the steps that it is a mean of."""

    value: float
    lowest: float
    highest: float
    steps: int


def of_policy(rows: Sequence[Row]) -> list[Row]:
    """The rows of steps that trained the policy, not the reward model before it."""
    return [row for row in rows if row.get("phase") != "reward"]


def minimised(rows: Sequence[Row]) -> str | None:
    """The name of the loss in these rows; None where none was logged."""
    return next((key for key in LOSSES if any(row.get(key) is not None for row in rows)), None)


def ends(point: Point) -> Mapping[str, Logged]:
    """What every seed of a point logged over the last tenth of its budget, by the keys of ``LOGGED``."""
    seeds = [[row for row in of_policy(cell.metrics()) if (row.get("share") or 0.0) >= LAST] for cell in point.cells]
    found = {}
    for key in LOGGED:
        values = [[float(row[key]) for row in rows if row.get(key) is not None] for rows in seeds]
        if all(values):
            means = [float(np.mean(each)) for each in values]
            found[key] = Logged(float(np.mean(means)), min(means), max(means), sum(map(len, values)))
    return found
