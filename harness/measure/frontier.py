"""The optimal frontiers, estimated from samples: the most reward, and the highest win rate, that any policy has at a given KL.

Among all policies at one KL from the reference, the mean of a score s is highest for the reference tilted by exp(s / tilt) (the
solution of the KL-regularised problem, e.g. Rafailov et al. 2023, arXiv 2305.18290, eq. 4); one tilt, the same for all prompts, is one
point. With s the reward this is the frontier of mean reward. With s(y) = W(y), the probability that y beats a reference sample, it is
the frontier of the win rate, which is another policy: W is bounded, so an excellent response is worth no more than a safe win.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.statistics import Array

SMALLEST_ESS = 8.0
TILTS = np.geomspace(16, 0.05, 60)  # in standard deviations of the score: KL near 1 / (2 tilt^2) while it is small
TIE = 1e-6  # scores nearer than this are a tie, as in ``measure.judge``


class Line(NamedTuple):
    """A frontier by tilt and prompt, (tilts, prompts), in order of growing KL: KL in nats, the mean score, the effective sample size.

    ``ended`` says that a sharper tilt was tried and left fewer effective samples than allowed; the line stops before it.
    """

    kl: Array
    value: Array
    ess: Array
    ended: bool


def tilted(scores: ArrayLike, tilt: float, ratios: ArrayLike | None = None) -> tuple[Array, Array, Array]:
    """KL in nats, mean score and effective sample size of the tilted reference, each (prompts,), from ``scores`` (prompts, samples).

    ``ratios`` are the reference's probability of each sample over the proposal's (``mixture_ratios``), all 1 where the samples are the
    reference's own. Weights w are proportional to ratios * exp(scores / tilt), self-normalised; KL = sum w log(w / r) with r the
    normalised ratios, at least 0 and at most log 1 / min r: with few effective samples, ESS = 1 / sum w^2, KL and mean are too low.

    Raises:
        ValueError: a table that is not finite or not two-dimensional, or a tilt that is not positive.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all() or tilt <= 0:
        raise ValueError(f"scores must be a finite table of (prompts, samples) and tilt positive; got shape {table.shape}, tilt {tilt}")
    base = np.ones_like(table) if ratios is None else np.asarray(ratios, dtype=np.float64)
    base = base / base.sum(1, keepdims=True)
    scaled = table / tilt
    top = scaled.max(1, keepdims=True)  # subtracted so that exp cannot overflow
    raw = base * np.exp(scaled - top)
    total = raw.sum(1, keepdims=True)
    weights = raw / total
    mean = (weights * table).sum(1)
    kl = mean / tilt - top[:, 0] - np.log(total[:, 0])
    return np.maximum(kl, 0.0), mean, 1 / (weights**2).sum(1)


def frontier(scores: ArrayLike, ratios: ArrayLike | None = None, *, smallest_ess: float = SMALLEST_ESS) -> Line:
    """The frontier over ``TILTS``, up to the first tilt whose effective sample size, averaged over prompts, is below ``smallest_ess``.

    The line begins at the reference itself (KL 0); it has no other point where even the mildest tilt leaves too few samples.
    """
    table = np.asarray(scores, dtype=np.float64)
    spread = float(np.sqrt(table.var(1).mean())) or 1.0
    found = [tilted(table, 1e9 * spread, ratios)]
    for tilt in TILTS * spread:
        point = tilted(table, float(tilt), ratios)
        if point[2].mean() < smallest_ess:
            break
        found.append(point)
    kl, value, ess = (np.array(column) for column in zip(*found, strict=True))
    return Line(kl, value, ess, len(found) <= len(TILTS))


def win_scores(gold: ArrayLike, others: ArrayLike | None = None) -> Array:
    """W(y), the probability that a response beats a sample of the reference, ties one half, (prompts, samples + others).

    ``gold`` (prompts, M) judges the reference's samples, ``others`` (prompts, K) other proposals' responses, which come after them.
    Each is ranked among the reference's samples *without itself*, L_i = mean over j != i of [g_i > g_j] + 1/2 [g_i = g_j]: counting
    the comparison with itself would pull every L_i towards 1/2. L_i is unbiased for W(y_i), but the tilt picks by L_i, so by its
    noise too, and the frontier would be too high (by 3 % of the gain at M = 32). To first order a tilt's gain at a KL is
    sqrt(2 KL Var), with Var the variance within a prompt; with t the probability of a tie between two samples,
    E Var(L) = Var(W) + (1/4 - t/4 - Var(W)) / (M - 1), because [win] + 1/2 [tie] squared is itself less 1/4 [tie]. So
    Var(W) = ((M - 1) Var(L) - (1 - t)/4) / (M - 2) is unbiased, and the scores of the reference's samples are drawn together about
    1/2 by sqrt(Var(W) / Var(L)), both pooled over the prompts. The other proposals' responses are no part of what they are ranked in.
    """
    table = np.asarray(gold, dtype=np.float64)
    prompts, samples = table.shape
    if samples < 3:
        raise ValueError(f"ranks need at least 3 samples of the reference per prompt; got {samples}")
    gaps = table[:, :, None] - table[:, None, :]
    tied = np.abs(gaps) <= TIE
    left_out = (((gaps > TIE) + 0.5 * tied).sum(2) - 0.5) / (samples - 1)
    ties = (tied.sum() / prompts - samples) / (samples * (samples - 1))
    variance = float(((left_out - 0.5) ** 2).mean())
    true = max(0.0, ((samples - 1) * variance - (1 - ties) / 4) / (samples - 2))
    own = 0.5 + (left_out - 0.5) * np.sqrt(true / variance) if variance else left_out
    if others is None:
        return np.asarray(own)
    beaten = np.asarray(others, dtype=np.float64)[:, :, None] - table[:, None, :]
    return np.hstack([own, ((beaten > TIE) + 0.5 * (np.abs(beaten) <= TIE)).mean(2)])


def mixture_ratios(log_ratios: ArrayLike, counts: ArrayLike) -> Array:
    """ref(y) / q(y) of every sample, (prompts, samples), for the mixture q of all proposals with their shares of the samples.

    ``log_ratios`` (proposals - 1, prompts, samples) are log pi_k(y) - log ref(y) of every proposal but the reference, which is first in
    ``counts`` (proposals,). The balance heuristic (Veach and Guibas 1995; Owen and Zhou 2000): a sample is weighted as if drawn from
    q whichever proposal drew it, so a ratio is at most one over the reference's share and no single sample can dominate.
    """
    logs, shares = np.asarray(log_ratios, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    shares = shares / shares.sum()
    ratios: Array = 1 / (shares[0] + (shares[1:, None, None] * np.exp(np.minimum(logs, 700.0))).sum(0))
    return ratios
