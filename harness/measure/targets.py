"""Finding the knob at which an algorithm reaches a KL: a scan of its grid, then brackets on log scales, in few trials.

Nothing is assumed of the knob but that it is positive: KL may rise and fall along it, so an interval is narrowed only where it brackets the
target, and a target that no trial comes near is a finding, not an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

TOLERANCE = 0.1  # |log(KL / target)| that counts as reached: 10 %, about what 128 tuning prompts can tell
MOST = 6  # trials that one target may add to the scan
STEP = 4.0  # factor by which the search goes beyond an end of what was seen
FINEST = 1.5  # ratio of neighbouring knobs below which a gap without a bracket is not searched

Seen = Mapping[float, float | None]
"""KL (nats) by knob; None where a run gave none, which is not tried again and from which nothing is concluded."""


class Reached(NamedTuple):
    """The knob whose KL (nats) is nearest to a target, and whether that is near enough."""

    target: float
    knob: float
    kl: float
    reached: bool

    def words(self, name: str, seen: Seen) -> str:
        """``reached: KL 1.02 at beta 0.9``, or what the trials had instead."""
        if self.reached:
            return f"reached: KL {self.kl:.2f} at {name} {self.knob:g}"
        known = {knob: kl for knob, kl in seen.items() if kl is not None}
        low, high = min(known, key=lambda knob: known[knob]), max(known, key=lambda knob: known[knob])
        if self.target < known[low]:
            return f"not reached: lowest KL {known[low]:.2f} at {name} {low:g}"
        if self.target > known[high]:
            return f"not reached: highest KL {known[high]:.2f} at {name} {high:g}"
        return f"not reached in {len(seen)} trials: nearest KL {self.kl:.2f} at {name} {self.knob:g}"


def nearest(seen: Seen, target: float) -> Reached | None:
    """The trial nearest to the target in log KL; None where no trial has a KL above 0."""
    moved = {knob: kl for knob, kl in seen.items() if kl}
    if not moved:
        return None
    knob = min(moved, key=lambda each: (_miss(moved[each], target), each))
    return Reached(target, knob, moved[knob], _miss(moved[knob], target) <= TOLERANCE)


def next_knob(seen: Seen, target: float, spent: int) -> float | None:
    """The knob to try next, or None where the target is reached, ``spent`` trials are enough, or no gap is worth another.

    ``seen`` holds KL by knob, at least the scan of the grid. Of several brackets (KL need not be monotone) the narrowest is taken and cut
    where a line through log knob and log KL meets the target; without a bracket the search goes on beside the nearest trial.
    """
    found = nearest(seen, target)
    if found is None or found.reached or spent >= MOST:
        return None
    moved = sorted((knob, kl) for knob, kl in seen.items() if kl)
    gaps = list(pairwise(moved))
    brackets = [(low, high) for low, high in gaps if (low[1] - target) * (high[1] - target) < 0]
    if brackets:
        low, high = min(brackets, key=lambda gap: gap[1][0] / gap[0][0])
        return _new(_crossing(low, high, target), seen)
    return _beside(found.knob, [knob for knob, _ in moved], seen)


def _crossing(low: tuple[float, float], high: tuple[float, float], target: float) -> float:
    """Where the line between two trials, in log knob and log KL, meets the target; never within a tenth of either end."""
    share = math.log(target / low[1]) / math.log(high[1] / low[1])
    return float(low[0] * (high[0] / low[0]) ** min(max(share, 0.1), 0.9))


def _beside(knob: float, knobs: list[float], seen: Seen) -> float | None:
    """Beyond an end if the nearest trial stands there, else the middle of the wider gap beside it if that is wide enough."""
    if knob == knobs[0]:
        return _new(knob / STEP, seen)
    if knob == knobs[-1]:
        return _new(knob * STEP, seen)
    place = knobs.index(knob)
    low, high = max(((knobs[place - 1], knob), (knob, knobs[place + 1])), key=lambda gap: gap[1] / gap[0])
    return _new(math.sqrt(low * high), seen) if high / low > FINEST else None


def _new(knob: float, seen: Seen) -> float | None:
    """The knob to three significant digits, or None where that has been tried."""
    rounded = float(f"{knob:.3g}")
    return None if rounded in seen else rounded


def _miss(kl: float, target: float) -> float:
    return abs(math.log(kl / target))
