"""The one setting of each algorithm that is compared: declared before an outcome is looked at, and how in words.

Where an algorithm was tuned it is the setting whose trial the common tuning judge scored highest, on the tuning seed and on tuning prompts,
both of which no result comes from; the score stands in the records. Else, and where settings were aimed at a KL, it is the setting whose KL
is nearest to the median of all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.report.points import Point, by_algorithm

TUNED = "the one whose trial the common tuning judge scored highest"
NEAREST = "the one whose KL is nearest to the median of all"


def settings(found: Sequence[Point]) -> dict[str, Point]:
    """The setting of each algorithm that is compared, by name."""
    far = _distances(found)
    return {name: _setting(group, far) for name, group in by_algorithm(found).items()}


def how(found: Sequence[Point]) -> str:
    """How the settings of these algorithms were chosen, to follow their mention."""
    tuned = [any(score(point) is not None for point in group) for group in by_algorithm(found).values()]
    return TUNED if tuned and all(tuned) else f"{TUNED} or, where it was not tuned, {NEAREST}" if any(tuned) else NEAREST


def score(point: Point) -> float | None:
    """The tuning judge's score of the trial that chose this setting, nats; None where none did, or where it was aimed at a KL."""
    tuning: Mapping[str, Any] = point.head.get("tuning") or {}
    found = tuning.get("score")
    chosen = point.head.get("tuned") and not tuning.get("targets")
    return float(found) if chosen and isinstance(found, int | float) and math.isfinite(found) else None


def _setting(group: Sequence[Point], far: Mapping[Point, float]) -> Point:
    scored = [(known, point) for point in group if (known := score(point)) is not None]
    return max(scored, key=lambda each: each[0])[1] if scored else min(group, key=lambda point: far[point])


def _distances(found: Sequence[Point]) -> dict[Point, float]:
    """How far each point's KL is from the median.

    The median is over the ranked algorithms where there are some: a control or an oracle must not choose the settings of the others.
    """
    ranked = [point for point in found if point.ranked] or found
    values = sorted(value for point in ranked if (value := point.value("kl")) is not None)
    centre = values[len(values) // 2] if values else 0.0
    return {point: abs(value - centre) if (value := point.value("kl")) is not None else math.inf for point in found}
