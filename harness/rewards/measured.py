"""What is said of a reward model that was held against labelled pairs: lines for a terminal and a card, and its curve as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.measure.statistics import Interval
from harness.report import figure_reliability
from harness.rewards import quality
from harness.rewards.material import Gold
from harness.types import Array, Pair


class Measured(NamedTuple):
    """On pairs: what labels say, what gold says where the task has one, and the mean score."""

    quality: quality.Quality
    gold: quality.Gold | None
    mean: float

    def numbers(self) -> list[tuple[str, Interval]]:
        """Each with the words that go before it."""
        found = self.quality
        rows = [
            ("accuracy: the better response scores higher", found.accuracy),
            ("labels side with the model", found.agreed),
            ("how sure the model is", found.sure),
            ("calibration error", found.error),
            ("log loss, nats", found.loss),
        ]
        if self.gold is not None:
            rows += [("orders a pair as gold does", self.gold.order), ("rank correlation with gold", self.gold.correlation)]
        return rows


def measured(scores: Array, pairs: Sequence[Pair], gold: Gold | None) -> Measured:
    """Of scores of the chosen and the rejected response, (pairs, 2), of labelled pairs."""
    prompts = [pair.prompt for pair in pairs]
    known = np.array([1.0 if pair.agreement is None else pair.agreement for pair in pairs])
    right = None
    if gold is not None:
        sides = [gold(prompts, [pair.chosen for pair in pairs]), gold(prompts, [pair.rejected for pair in pairs])]
        right = quality.against_gold(scores, np.array(sides).T, prompts)
    found = quality.quality(scores[:, 0] - scores[:, 1], known, prompts)
    return Measured(found, right, float(scores.mean()))


def said(number: Interval) -> str:
    """A number with its bounds."""
    bounds = f"[{number.lower:.3f}, {number.upper:.3f}]" if np.isfinite(number.lower + number.upper) else "[no bounds]"
    return f"{number.value:.3f} {bounds}"


def lines(found: Measured) -> list[str]:
    """For a terminal."""
    numbers = found.numbers()
    wide = max(len(words) for words, _ in numbers)
    rows = [f"  {words:<{wide}}  {said(number)}" for words, number in numbers]
    n = found.quality.accuracy.n
    return [*rows, f"  95 % bootstrap over prompts; n = {n:,} prompts, {found.quality.pairs:,} pairs. A coin: accuracy .5, log loss .693."]


def draw(found: Measured, title: str, folder: Path) -> list[Path]:
    """The calibration curve as svg, png and csv in a folder."""
    points = [(each.sure, each.agreed.value, each.agreed.lower, each.agreed.upper, each.pairs) for each in found.quality.bins]
    return figure_reliability.save(points, title, folder)
