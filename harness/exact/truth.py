"""What is optimal in a known world, and how far a policy is from it: sums over all responses, no sample anywhere. No torch.

Policies are log-probs (prompts, responses); means are over prompts, all equally frequent.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax

from harness.exact.world import World, preferred
from harness.types import Array

COLDEST, HOTTEST = 1e-4, 1e6  # temperatures between which a frontier is looked for; their logarithms are searched
NONE = 1e-12  # nats: a policy nearer than this to the reference is the reference


class Place(NamedTuple):
    """Where a policy is: KL from the reference in nats, mean reward in nats, win rate against the reference in [0, 1].

    ``below_reward`` and ``below_wins`` are what the best policy at the same KL has more of each; 0 on that frontier.
    """

    kl: float
    reward: float
    wins: float
    below_reward: float
    below_wins: float


def wins(world: World) -> Array:
    """W(x, y): the probability that a response beats a sample of the reference, itself counted as a tie, (prompts, responses)."""
    found = (preferred(world) * np.exp(world.reference)[:, None, :]).sum(2)
    return np.asarray(found)


def tilted(world: World, scores: Array, temperature: float) -> Array:
    """Log of ref exp(scores / temperature) / Z, (prompts, responses): maximises the mean score less ``temperature`` times KL.

    With the reward and beta it is the optimum of KL-regularised reinforcement learning (Rafailov et al. 2023, arXiv 2305.18290, eq. 4);
    with ``wins`` and tau that of identity preference optimisation (Azar et al. 2023, arXiv 2310.12036, section 4.2).
    """
    return np.asarray(log_softmax(world.reference + scores / temperature, axis=1))


def divergence(policy: Array, other: Array) -> float:
    """KL(policy || other), nats, mean over prompts."""
    return float((np.exp(policy) * (policy - other)).sum(1).mean())


def expected(policy: Array, scores: Array) -> float:
    """The mean score of the policy's responses."""
    return float((np.exp(policy) * scores).sum(1).mean())


def best(world: World, scores: Array, kl: float) -> float:
    """The highest mean score that any policy has whose mean KL is at most ``kl`` nats: a point of the frontier.

    The Lagrangian's solution is the tilted reference at one temperature for all prompts, which is found by bisection.
    """
    if kl <= NONE:
        return expected(world.reference, scores)

    def excess(logarithm: float) -> float:
        return divergence(tilted(world, scores, math.exp(logarithm)), world.reference) - kl

    low, high = math.log(COLDEST), math.log(HOTTEST)
    if excess(low) <= 0:  # every prompt answers with its best response, and KL is left over
        return float(np.asarray(scores).max(1).mean())
    if excess(high) >= 0:
        return expected(world.reference, scores)
    return expected(tilted(world, scores, math.exp(brentq(excess, low, high, xtol=1e-12, rtol=1e-14))), scores)


def place(world: World, policy: Array) -> Place:
    """Where a policy is, and how far below both frontiers."""
    kl, against = divergence(policy, world.reference), wins(world)
    reward, won = expected(policy, world.reward), expected(policy, against)
    return Place(kl, reward, won, best(world, world.reward, kl) - reward, best(world, against, kl) - won)


class Nearest(NamedTuple):
    """The tilted reference that a policy is nearest to: the temperature, and KL(tilted || policy) in nats."""

    temperature: float
    distance: float


def nearest(world: World, policy: Array, scores: Array) -> Nearest:
    """The temperature at which the tilted reference is nearest to a policy: the optimum that it behaves as if it had been asked for."""
    from scipy.optimize import minimize_scalar

    def apart(logarithm: float) -> float:
        return divergence(tilted(world, scores, math.exp(logarithm)), policy)

    starts = np.linspace(math.log(0.02), math.log(200.0), 60)
    middle = float(min(starts, key=apart))
    step = float(starts[1] - starts[0])
    found = minimize_scalar(apart, bounds=(middle - step, middle + step), method="bounded", options={"xatol": 1e-8})
    return Nearest(math.exp(float(found.x)), float(found.fun))
