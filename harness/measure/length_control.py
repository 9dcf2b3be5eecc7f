"""Win rates with the length of responses held equal: a logistic regression on the difference of lengths, read off at no difference.

Dubois et al. 2024 (arXiv 2404.04475, section 3, "length-controlled AlpacaEval"): the log odds of a win are a term of the policy, one of
the standardised difference of lengths, and one of the prompt. Here ``logit P = theta + phi tanh(d / sd(d)) + psi_x``, where d is the
response's length less its opponent's in tokens, theta and phi belong to the policy, and psi_x, the prompt's, is shared by all policies
of a seed and shrunk by a normal prior. A tie is half a win. The controlled rate is the mean over prompts of ``P`` at d = 0.

It is an adjustment, not an experiment: where a longer response is better because it says more, that merit is taken out as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.measure.statistics import Array, Interval, reweighted

PENALTY = 1.0  # psi_x ~ N(0, 1 / PENALTY), in nats; AlpacaEval 2 regularises its prompt terms too
RIDGE = 1e-4  # on theta and phi: keeps a policy that wins always finite, and moves no other in the fourth digit
OUTSIDE = 0.025  # a difference of 0 must have this share of comparisons on either side, or it is an extrapolation
RESAMPLES = 200
STEPS, CLOSE = 30, 1e-3  # Newton's error after a step is of the order of the step squared: a rate to six digits
MOST, EXACT, TINY = 100, 1e-8, 1e-6  # steps of the joint fit at most, the step in nats after which it stands, the least part of a step


class Matches(NamedTuple):
    """One policy of one seed against the opponents of each prompt: ``wins`` in [0, 1] and ``lengths`` less the opponent's, tokens.

    Both (prompts, opponents).
    """

    wins: Array
    lengths: Array

    @property
    def terms(self) -> Array:
        """tanh(d / sd(d)), (prompts, opponents); 0 where all differences are equal."""
        spread = self.lengths.std()
        return np.asarray(np.tanh(self.lengths / spread) if spread > 0 else np.zeros_like(self.lengths))


class Fit(NamedTuple):
    """The regression of one seed: ``policies`` (policies, 2) hold theta and phi, ``prompts`` (prompts,) psi, all in nats."""

    policies: Array
    prompts: Array


@dataclass(frozen=True)
class Controlled:
    """A length-controlled win rate, or the reason why there is none; ``phi`` is the mean effect of length over seeds, in nats."""

    rate: Interval | None
    phi: float | None = None
    reason: str = ""


def fit(matches: Sequence[Matches], *, penalty: float = PENALTY) -> Fit:
    """The regression over all policies of one seed, by maximum penalised likelihood.

    Raises:
        ValueError: policies with other prompts or opponents, or outcomes outside [0, 1].
    """
    wins, terms = _stacked(matches)
    found = Fit(np.zeros((len(wins), 2)), np.zeros(wins.shape[1]))
    loss = _loss(wins, terms, found, penalty)
    for _ in range(MOST):
        move, size = _direction(wins, terms, found, penalty), 1.0
        while (after := _loss(wins, terms, there := _moved(found, move, size), penalty)) > loss and size > TINY:
            size /= 2  # a whole step overshoots where shares are near 0 or 1; the loss is convex, so a part of it does not
        if after > loss:
            return found
        found, loss = there, after
        if size * max(float(np.abs(each).max()) for each in move) < EXACT:
            return found
    return found


def _moved(found: Fit, move: Fit, size: float) -> Fit:
    return Fit(found.policies - size * move.policies, found.prompts - size * move.prompts)


def _odds(found: Fit, terms: Array) -> Array:
    """The log odds of every comparison, (policies, prompts, opponents)."""
    return np.asarray(found.policies[:, :1, None] + found.policies[:, 1:, None] * terms + found.prompts[None, :, None])


def _loss(wins: Array, terms: Array, found: Fit, penalty: float) -> float:
    """The penalised negative log-likelihood, nats."""
    odds = _odds(found, terms)
    prior = RIDGE * (found.policies**2).sum() + penalty * (found.prompts**2).sum()
    return float(np.logaddexp(0, odds).sum() - (wins * odds).sum() + 0.5 * prior)


def _direction(wins: Array, terms: Array, found: Fit, penalty: float) -> Fit:
    """Newton's step. The prompts' part of the Hessian is diagonal, so that only the policies' complement is solved for."""
    share = _share(_odds(found, terms))
    wrong, bend, count = share - wins, share * (1 - share), len(wins)
    slopes = np.stack([wrong.sum((1, 2)), (wrong * terms).sum((1, 2))], 1) + RIDGE * found.policies
    slope, diagonal = wrong.sum((0, 2)) + penalty * found.prompts, bend.sum((0, 2)) + penalty
    cross = np.stack([bend.sum(2), (bend * terms).sum(2)], 1).reshape(2 * count, -1)
    own = np.stack([bend.sum((1, 2)), (bend * terms).sum((1, 2)), (bend * terms**2).sum((1, 2))], 1)[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
    whole = RIDGE * np.eye(2 * count) - cross / diagonal @ cross.T
    for policy in range(count):
        whole[2 * policy : 2 * policy + 2, 2 * policy : 2 * policy + 2] += own[policy]
    policies = np.linalg.solve(whole, slopes.ravel() - cross @ (slope / diagonal))
    return Fit(policies.reshape(count, 2), (slope - policies @ cross) / diagonal)


def rates(matches: Matches, start: ArrayLike, psi: Array, weights: Array) -> Array:
    """The mean over weighted prompts of P at d = 0 for one policy, (draws,), psi held fixed: Newton's method on theta and phi from
    ``start``.

    ``weights`` (draws, prompts) say how often each draw counts each prompt; NaN where it counts none. Holding the prompts' terms fixed is
    what AlpacaEval 2 does, too.
    """
    heard, found = weights.any(1), np.full(len(weights), np.nan)  # a third of all draws leave a seed out
    if heard.any():
        once, place = _distinct(weights[heard])
        theta = _newton(matches, np.asarray(start, dtype=np.float64), psi, once)[:, :1]
        found[heard] = ((once * _share(theta + psi)).sum(1) / once.sum(1))[place]
    return found


def _distinct(weights: Array) -> tuple[Array, NDArray[np.intp]]:
    """The draws that differ and the place of each among them: a seed that was drawn alone counts all its prompts alike, in few ways."""
    if not (weights == weights[:, :1]).all():
        return weights, np.arange(len(weights))
    _, first, place = np.unique(weights[:, 0], return_index=True, return_inverse=True)
    return weights[first], place


def controlled(seeds: Sequence[Matches], fits: Sequence[Fit], position: int, *, generator: np.random.Generator) -> Controlled:
    """The length-controlled win rate of the policy at ``position`` in the fits, over seeds, with its two-way interval.

    ``seeds`` are its matches seed by seed on the same prompts. There is no rate where a difference of 0 lies outside what was seen.
    """
    if reason := _unidentified(seeds):
        return Controlled(None, reason=reason)

    def statistic(weights: Array) -> Array:
        each = [rates(seeds[i], fits[i].policies[position], fits[i].prompts, weights[:, i]) for i in range(len(seeds))]
        heard = weights.sum(2)
        return np.asarray((np.where(heard > 0, np.stack(each, 1), 0.0) * heard).sum(1) / heard.sum(1))

    shape = (len(seeds), len(seeds[0].wins))
    found = reweighted(statistic, shape, generator=generator, resamples=RESAMPLES)
    return Controlled(found, float(np.mean([each.policies[position, 1] for each in fits])))


def _unidentified(seeds: Sequence[Matches]) -> str:
    """Why the rate at d = 0 cannot be read off; empty where it can."""
    for each in seeds:
        longer, shorter = float((each.lengths >= 0).mean()), float((each.lengths <= 0).mean())
        if min(longer, shorter) < OUTSIDE:
            side = "longer" if longer > shorter else "shorter"
            return f"{side} in {100 * max((each.lengths > 0).mean(), (each.lengths < 0).mean()):.3g} % of comparisons: equal lengths unseen"
    return ""


def _newton(matches: Matches, start: Array, psi: Array, weights: Array) -> Array:
    """Theta and phi, (draws, 2), that maximise each draw's weighted, nearly unpenalised likelihood given psi; it is concave in both.

    All draws start from one place, so that the first step sees each response once for all of them.
    """
    opponents = matches.wins.shape[1]
    wins, terms, base, often = matches.wins.ravel(), matches.terms.ravel(), np.repeat(psi, opponents), np.repeat(weights, opponents, 1)
    powers, found = np.stack([np.ones_like(terms), terms, terms**2], 1), start[None]
    for _ in range(STEPS):
        share = _share(found[:, :1] + found[:, 1:] * terms + base)
        slope = _weighted(often, wins - share, powers[:, :2]) - RIDGE * found
        bends = _weighted(often, share * (1 - share), powers)
        bend = bends[:, [0, 1, 1, 2]].reshape(-1, 2, 2) + RIDGE * np.eye(2)
        move = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
        furthest = np.abs(move).max(1, keepdims=True)
        found = found + move * np.minimum(1.0, 2.0 / np.maximum(1e-12, furthest))  # far steps overshoot where shares are near 0 or 1
        if furthest.max() < CLOSE:
            break
    return found


def _weighted(often: Array, values: Array, powers: Array) -> Array:
    """Sums over comparisons of ``values`` (draws or 1, comparisons) times each of ``powers`` (comparisons, powers), a comparison counted
    as often as in ``often`` (draws, comparisons); (draws, powers). Sums of few are slow, products of matrices are not.
    """
    return np.asarray(often @ (values.T * powers) if len(values) == 1 else (often * values) @ powers)


def _share(odds: ArrayLike) -> Array:
    from scipy.special import expit

    return np.asarray(expit(odds))


def _stacked(matches: Sequence[Matches]) -> tuple[Array, Array]:
    """Wins and length terms of all policies, each (policies, prompts, opponents)."""
    shapes = {np.shape(each) for match in matches for each in match}
    if len(shapes) != 1:
        raise ValueError(f"policies that met the same opponents on the same prompts are wanted; got shapes {sorted(shapes)}")
    wins, terms = (np.stack(each) for each in ([match.wins for match in matches], [match.terms for match in matches]))
    if not ((wins >= 0) & (wins <= 1)).all() or not np.isfinite(terms).all():
        raise ValueError("outcomes in [0, 1] and finite lengths are wanted")
    return wins, terms
