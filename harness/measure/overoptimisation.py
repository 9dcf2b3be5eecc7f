"""Over-optimisation: where the reward meant peaks while the reward measured rises, and the forms of Gao et al. 2022 (arXiv 2210.10760)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.statistics import Array

DISTINCT = 8  # KL values without which two parameters and their residuals say nothing
NEAR = 0.1  # nats below which a form is not fitted: R_rl has an infinite slope at 0, and the gains there are noise
SAME = 0.02  # relative distance below which two KL values count as one

Form = Literal["reranking", "rl"]


class Fit(NamedTuple):
    """R = d (a - b d) for best-of-n, d (a - b ln d) for reinforcement learning, d = sqrt(KL); residuals (points,) and their root mean
    square, in units of the reward; ``peak`` is the KL at which the form has its maximum, NaN where b is not positive.
    """

    a: float
    b: float
    residuals: Array
    rms: float
    peak: float


def distinct(kl: ArrayLike) -> int:
    """How many different KL values there are to fit, those below ``NEAR`` left out."""
    values = np.sort(np.asarray(kl, dtype=np.float64))
    values = values[values >= NEAR]
    return int(1 + (np.diff(values) > SAME * values[1:]).sum()) if len(values) else 0


def gao_fit(kl: ArrayLike, gain: ArrayLike, form: Form) -> Fit:
    """The least-squares fit of a form to gains over the reference at KLs in nats; both forms are linear in a and b.

    Raises:
        ValueError: fewer than ``DISTINCT`` different KL values of at least ``NEAR``.
    """
    x, y = np.asarray(kl, dtype=np.float64), np.asarray(gain, dtype=np.float64)
    if (found := distinct(x)) < DISTINCT:
        raise ValueError(f"{found} distinct KL values of at least {NEAR:g}; a fit needs {DISTINCT}")
    a, b = (float(each[0]) for each in coefficients(x[:, None], y[:, None], form))
    first, second = _design(x, form)
    residuals = (y - a * first - b * second)[x >= NEAR]
    # dR/dd = a - 2 b d, or a - b ln d - b: zero at d = a / (2 b), or ln d = a / b - 1.
    top = (a / (2 * b) if form == "reranking" else np.exp(np.clip(a / b - 1, -50, 50))) if b > 0 else np.nan
    return Fit(a, b, residuals, float(np.sqrt((residuals**2).mean())), float(top**2))


def coefficients(kl: Array, gain: Array, form: Form) -> tuple[Array, Array]:
    """A and b by least squares, both (resamples,), from (points, resamples), points below ``NEAR`` left out: the normal equations."""
    first, second = _design(kl, form)
    far = kl >= NEAR
    aa, ab, bb, ay, by = (np.where(far, each, 0.0).sum(0) for each in (first**2, first * second, second**2, first * gain, second * gain))
    determinant = aa * bb - ab**2
    determinant = np.where(np.abs(determinant) > 1e-12, determinant, np.nan)
    return (bb * ay - ab * by) / determinant, (aa * by - ab * ay) / determinant


def _design(kl: Array, form: Form) -> tuple[Array, Array]:
    """What a and b are multiplied by."""
    d = np.sqrt(np.maximum(kl, 1e-12))
    return d, -d * d if form == "reranking" else -d * np.log(d)


def drops(kl: ArrayLike, values: ArrayLike, seen: ArrayLike) -> tuple[Array, Array]:
    """A curve's fall from its peak to its last point in KL, for every seed and prompt, and where both were seen; each (seeds, prompts).

    ``values`` and ``seen`` are (points, seeds, prompts), ``kl`` (points,). The highest of noisy values is too high, so no cell has a
    part in choosing the peak that is read in it: its peak is that of the other seeds on the other half of the prompts (even or odd),
    with one seed that of the other half. Averaged, the fall of a curve that does not fall is 0 or below: 0 where the end is chosen.
    """
    x, table, known = (np.asarray(each, dtype=np.float64) for each in (kl, values, seen))
    side = np.arange(table.shape[2]) % 2
    sums, counts = (np.stack([(each * (side == half)).sum(2) for half in (1, 0)], 2) for each in (table * known, known))
    if table.shape[1] > 1:
        sums, counts = (each.sum(1, keepdims=True) - each for each in (sums, counts))
    means = np.divide(sums, counts, out=np.full(sums.shape, -np.inf), where=counts > 0)
    top = means.argmax(0)[:, side][None]
    both = np.take_along_axis(known, top, 0)[0] * known[x.argmax()]
    return (np.take_along_axis(table, top, 0)[0] - table[x.argmax()]) * both, both


def interpolated(kl: Array, values: Array, at: float) -> Array:
    """A curve's value at a KL, linear between its points in order of KL, (resamples,); NaN outside its points: never extrapolated."""
    order = np.argsort(kl, axis=0)
    x, y = np.take_along_axis(kl, order, 0), np.take_along_axis(values, order, 0)
    after = np.clip((x < at).sum(0), 1, len(x) - 1)[None]
    (x0, x1), (y0, y1) = ([np.take_along_axis(each, index, 0)[0] for index in (after - 1, after)] for each in (x, y))
    inside = (x[0] <= at) & (at <= x[-1])
    return np.where(inside, y0 + (y1 - y0) * np.clip((at - x0) / np.where(x1 > x0, x1 - x0, 1.0), 0, 1), np.nan)
