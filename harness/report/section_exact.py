"""The page's room on policies that were enumerated: which optimum of the reference each is nearest to, and how far from it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.report.points import Loaded, Point, metrics
from harness.report.section import Grid, Looks, Section

COLUMNS = ("reward_tilt", "reward_tilt_kl", "preference_tilt", "preference_tilt_kl", "preferred", "elsewhere")
HEADS = ("nearest beta", "KL to it, nats", "nearest tau", "KL to it, nats", "preferred", "elsewhere")
MEANING = (
    "Every response of this task is known, so win rate, gold, KL and the frontiers are sums and no estimates: an interval says how prompts "
    "and seeds differ, not how a sample might.",
    "The optimum of KL-regularised reinforcement learning at beta is the reference tilted by exp(reward / beta); that of identity "
    "preference optimisation at tau is the reference tilted by exp(p / tau), with p the probability of being preferred to a sample of the "
    "reference. The beta and the tau of the tilts that a policy is nearest to are the questions that it answers, whatever it was asked; "
    "KL(tilt || policy) says how well. A policy at distance 0 from the first is on the gold frontier. The frontier of win rate is of "
    "another score, who wins rather than who is preferred.",
)


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """A row for every point with its nearest tilts; None where policies were not enumerated."""
    seen = [point for point in found if COLUMNS[0] in metrics(point.head, None)]
    if not seen:
        return None
    rows = [[point.title, point.setting, *(_said(point, key) for key in COLUMNS)] for point in seen]
    caption = "At the end of the budget, 95 % intervals over seeds and prompts. Elsewhere: the probability of what is no response."
    return Section("exact", "Against the exact optima", list(MEANING), tables=[Grid(["algorithm", "setting", *HEADS], rows, caption, 2)])


def _said(point: Point, key: str) -> str:
    if (found := point.get(key)) is None:
        return "(not measured)"
    bounds = "" if math.isnan(found.lower + found.upper) else f" [{found.lower:.2g}, {found.upper:.2g}]"
    return f"{found.value:.3g}{bounds} n={found.n}"
