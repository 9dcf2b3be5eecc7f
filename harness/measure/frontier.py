"""The optimal frontier of gold reward against KL, estimated from samples of the reference.

Among all policies at a given KL from the reference, the highest mean reward is that of the reference tilted by exp(r / tilt)
(the solution of the KL-regularised problem, e.g. Rafailov et al. 2023, arXiv 2305.18290, eq. 4). One value of ``tilt`` is one point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.statistics import Array, prompt_interval


class Tilted(NamedTuple):
    """Per prompt, (prompts,): mean gold of the tilted reference, its KL from the reference in nats, effective sample size."""

    gold: Array
    kl: Array
    ess: Array


def tilted(gold: ArrayLike, tilt: float) -> Tilted:
    """Self-normalised importance estimates of the tilted reference, per prompt, from ``gold`` (prompts, samples) of the reference.

    Weights w are proportional to exp(gold / tilt); KL = E_w[gold] / tilt - log mean exp(gold / tilt), which is at least 0 and at
    most log(samples): with few effective samples both KL and gold are too low, so points are kept only where ESS = 1 / sum w^2 allows.
    """
    table = np.asarray(gold, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all() or tilt <= 0:
        raise ValueError(f"gold must be a finite table of (prompts, samples) and tilt positive; got shape {table.shape}, tilt {tilt}")
    scaled = table / tilt
    top = scaled.max(1, keepdims=True)  # subtracted so that exp cannot overflow
    raw = np.exp(scaled - top)
    weights = raw / raw.sum(1, keepdims=True)
    mean = (weights * table).sum(1)
    log_normaliser = top[:, 0] + np.log(raw.mean(1))
    return Tilted(mean, np.maximum(mean / tilt - log_normaliser, 0.0), 1 / (weights**2).sum(1))


def reference_tilt(
    gold: ArrayLike, tilts: Sequence[float], *, generator: np.random.Generator, smallest_ess: float = 8.0
) -> list[dict[str, Any]]:
    """Points of the optimal gold frontier in order of growing KL (falling tilt), each as a record holds it.

    A point is ``{"tilt", "kl", "gold", "ess", "samples", "ended"}`` with prompt-bootstrap intervals; the effective sample size is
    averaged over prompts. The line stops at the first tilt whose size is below ``smallest_ess``; the last point kept then has
    ``ended`` true, so that a figure can say that the frontier was not estimated further. No point: no tilt was mild enough.
    """
    table = np.asarray(gold, dtype=np.float64)
    points: list[dict[str, Any]] = []
    for tilt in sorted(set(tilts), reverse=True):
        estimate = tilted(table, tilt)
        if estimate.ess.mean() < smallest_ess:
            if points:
                points[-1]["ended"] = True
            break
        points.append(
            {
                "tilt": float(tilt),
                "kl": prompt_interval(estimate.kl, generator=generator)._asdict(),
                "gold": prompt_interval(estimate.gold, generator=generator)._asdict(),
                "ess": float(estimate.ess.mean()),
                "samples": int(table.shape[1]),
                "ended": False,
            }
        )
    return points
