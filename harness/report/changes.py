"""Many paired changes at once: tables of one shape are resampled together, at the price of few and with the same numbers to the bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.measure.statistics import Array, Interval, two_way_interval, two_way_intervals
from harness.measure.verdicts import seen
from harness.report.numbers import resampler


@dataclass(frozen=True, eq=False)
class Part:
    """A metric of a policy and of its reference on the same prompts, (seeds, prompts) each; the level; whether outcomes are counted."""

    after: Array
    before: Array
    level: float
    counted: bool


class Change(NamedTuple):
    """``verdicts.changed`` of a part, the same of its reference's own level, and a generator in the state in which either left it.

    The generator is a new one every time.
    """

    interval: Interval
    reference: Interval
    generator: Callable[[], np.random.Generator]


def changes_of(parts: Sequence[Part]) -> Mapping[Part, Change]:
    """The change of every part, each as if a report's generator had resampled it alone."""
    groups: dict[tuple[tuple[int, ...], float], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.after.shape, part.level), []).append(part)
    return {part: change for (_, level), group in groups.items() for part, change in zip(group, _changes(group, level), strict=True)}


def _changes(group: Sequence[Part], level: float) -> list[Change]:
    """Changes and references together: both are of the same seeds and prompts, and of the same resamples."""
    generator = resampler()
    differences = [*(part.after - part.before for part in group), *(part.before for part in group)]
    if len(differences[0]) > 1:
        found = two_way_intervals(differences, generator=generator, level=level)
    else:  # one seed has a way of its own, from the same weights
        found = [two_way_interval(each, generator=resampler(), level=level) for each in differences[1:]]
        found.insert(0, two_way_interval(differences[0], generator=generator, level=level))
    wide = [
        seen(difference, each, level, counted=part.counted)
        for part, difference, each in zip([*group, *group], differences, found, strict=True)
    ]
    return [Change(*both, lambda: deepcopy(generator)) for both in zip(wide[: len(group)], wide[len(group) :], strict=True)]
