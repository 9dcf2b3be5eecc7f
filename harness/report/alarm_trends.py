"""Alarms about where a run is going: preferred responses less and less likely, and a proxy that rises while the judge falls."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from harness.measure.statistics import Array, Interval
from harness.report.alarm import LEVEL, Evidence, Run, above, below
from harness.types import ROUNDING

CHOSEN = "heldout_chosen_change"
FEW = 4  # logged steps below which a window has no mean worth comparing


def chosen_falling(run: Run, mark: float, marks: float) -> tuple[Evidence, ...]:
    """Falls of log pi(y_w) on held-out pairs, where there were so many in a row, this mark's the last, each paired and beyond its interval.

    The first fall is against the reference. A run that ended with fewer marks must have fallen at all of them, two at least.
    A record from before held-out log-probs were measured is read by its log instead: means of the batches' chosen change between two
    marks, against those before.
    """
    if mark > 1:
        return ()
    heldout = any(run.column(CHOSEN, each)[0] for each in run.marks)
    falls = list(_heldout_falls(run, mark) if heldout else _logged_falls(run, mark))
    wanted = min(int(marks), max(2, len(run.marks))) if run.ended else int(marks)
    latest = falls[-wanted:]
    if len(latest) < wanted or not all(upper < -ROUNDING for _, (_, _, upper, _) in latest):
        return ()
    since = run.metric(CHOSEN, mark) if heldout else _window(run, _before(run, mark), mark)
    total = () if since is None else (Evidence(f"log pi(y_w), change against the reference at {mark:g}", since, "nats"),)
    return (*total, *(Evidence(f"fall to {each:g}", found, "nats") for each, found in latest))


def proxy_up_judge_down(run: Run, mark: float, level: float) -> tuple[Evidence, ...]:
    """Change of the proxy and of the judge since an earlier mark, where the first rose and the second fell beyond their intervals.

    Both are paired by prompt. Every pair of marks is a chance to ring on noise, so ``level``, of all of them together, is divided.
    """
    judge = str((run.record.get("judge") or {}).get("primary", "gold"))
    earlier = [each for each in run.marks if each < mark <= 1]
    chances = len(run.marks) * (len(run.marks) - 1) // 2
    for before in earlier:
        each = 1 - (1 - level) / chances
        rise = above(run.change("proxy", mark, before), 0.0, each)
        fall = None if rise is None else below(run.change(judge, mark, before), 0.0, each)
        if rise is not None and fall is not None:
            since = f"from mark {before:g} to {mark:g}"
            return Evidence(f"proxy {since}", rise, "nats"), Evidence(f"{judge} {since}", fall)
    return ()


def _before(run: Run, mark: float) -> float:
    """The mark before this one, 0 before the first."""
    return max((each for each in run.marks if each < mark), default=0.0)


def _heldout_falls(run: Run, mark: float) -> Iterator[tuple[float, Interval]]:
    """For every mark up to this one the change of log pi(y_w) since the mark before: (mark, interval); +inf where it did not fall."""
    for before, each in pairwise((0.0, *(other for other in run.marks if other <= mark))):
        since = run.column(CHOSEN, each)[1] if before == 0 else run.change(CHOSEN, each, before)
        yield each, below(since, 0.0) or _risen(since)


def _risen(values: Array) -> Interval:
    """What stands for a change that is no fall."""
    return Interval(float(values.mean()) if len(values) else np.nan, np.nan, np.inf, len(values))


def _logged_falls(run: Run, mark: float) -> Iterator[tuple[float, Interval]]:
    """The same from a run's log: the mean of a window of steps less that of the window before, with Welch's interval; n counts steps."""
    edges = (0.0, *(each for each in run.marks if each <= mark))
    windows = [(late, _steps(run, early, late)) for early, late in pairwise(edges)]
    for (_, before), (each, now) in pairwise([(0.0, np.zeros(FEW)), *windows]):
        yield each, _welch(now, before) if min(len(now), len(before)) >= FEW else _risen(now)


def _steps(run: Run, early: float, late: float) -> Array:
    """The logged chosen change of the steps between two shares of the budget."""
    pairs = [(row.get("share"), row.get("chosen_change")) for row in run.logged]
    known = [(share, change) for share, change in pairs if isinstance(share, int | float) and isinstance(change, int | float)]
    return np.array([float(change) for share, change in known if early < share <= late])


def _window(run: Run, early: float, late: float) -> Interval | None:
    found = _steps(run, early, late)
    return _welch(found, np.zeros(FEW)) if len(found) >= FEW else None


def _welch(now: Array, before: Array) -> Interval:
    """The difference of two means with Welch's t interval; n counts the values of the first."""
    from scipy.special import stdtrit

    parts = [float(each.var(ddof=1)) / len(each) for each in (now, before)]
    error, freedom = sum(parts) ** 0.5, len(now) - 1.0
    if parts[1] > 0 and error > 0:
        freedom = sum(parts) ** 2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, (now, before), strict=True))
    difference, half = float(now.mean() - before.mean()), float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return Interval(difference, difference - half, difference + half, len(now))
