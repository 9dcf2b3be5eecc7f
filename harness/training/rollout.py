"""The mathematics of on-policy training: rewards, advantages, clipped losses and their statistics. Tensors in, tensors out.

Shapes: (responses, longest) with a boolean mask that is False on padding, unless a docstring says otherwise; log-probs and KL in nats.
Sources: Schulman et al. 2016 (GAE, arXiv 1506.02438), Schulman et al. 2017 (PPO, arXiv 1707.06347), Ziegler et al. 2019
(arXiv 1909.08593), Huang et al. 2024 (the N+ implementation details, arXiv 2403.17031).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Place = Literal["eos", "after_eos"]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of ``values`` where ``mask`` holds, a scalar."""
    return (values * mask).sum() / mask.sum()


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """The unbiased variance of ``values`` where ``mask`` holds, a scalar; 0 where there is only one value."""
    squares = (values - masked_mean(values, mask)).square()
    return (squares * mask).sum() / (mask.sum() - 1).clamp(min=1)


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """``values`` scaled to variance 1, and to mean 0 unless ``shift_mean`` is false; 0 on padding.

    N+ whitens advantages with the mean and, where it whitens rewards at all, keeps their mean (``shift_mean=False``).
    """
    mean, variance = masked_mean(values, mask), masked_variance(values, mask)
    white = (values - mean) * torch.rsqrt(variance + 1e-8)
    return (white if shift_mean else white + mean) * mask


def penalise_missing_eos(scores: Tensor, finished: Tensor, penalty: float) -> Tensor:
    """``scores`` less ``penalty`` where EOS did not end the response, (responses,).

    TRL subtracts, N+ replaces the score by -1; subtracting keeps the order of two responses that both ran into the limit.
    """
    return torch.where(finished, scores, scores - penalty)


def place_scores(scores: Tensor, lengths: Tensor, width: int, *, at: Place = "eos") -> Tensor:
    """Each response's score (responses,) at one step of a (responses, width) tensor that is 0 elsewhere.

    ``eos`` is the step of the last token, as in Ziegler 2019 and N+. ``after_eos`` is TRL 1.12's place, one step later, or the last
    step where the response fills the width: such a score reaches EOS through the value of that step and a factor lambda.
    """
    step = lengths - 1 if at == "eos" else torch.minimum(lengths, torch.full_like(lengths, width - 1))
    return torch.zeros(len(scores), width, dtype=scores.dtype, device=scores.device).scatter(1, step[:, None], scores[:, None])


def token_rewards(logps: Tensor, reference: Tensor, mask: Tensor, scores: Tensor, *, kl_coef: float, at: Place = "eos") -> Tensor:
    """-kl_coef (log pi - log ref) at every token, plus the score (responses,) where ``place_scores`` puts it; 0 on other padding.

    The sum over a response is score - kl_coef k1, where k1 = log pi(y|x) - log ref(y|x) is the one-sample estimate of the KL.
    """
    penalties = -kl_coef * (logps - reference) * mask
    return penalties + place_scores(scores, mask.sum(1), mask.shape[1], at=at)


def generalised_advantages(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float = 1.0, decay: float = 0.95) -> Tensor:
    """Advantages A_t = delta_t + gamma decay A_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t; 0 on padding.

    A response ends with its last token, truncated or not: the value after it is 0. ``values`` are read at the state that precedes
    each token.
    """
    values = values * mask
    advantages = torch.zeros_like(rewards)
    following, after = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * following - values[:, t]
        after = (delta + gamma * decay * after) * mask[:, t]
        following, advantages[:, t] = values[:, t], after
    return advantages


def policy_loss(logps: Tensor, old: Tensor, advantages: Tensor, *, clip: float) -> Tensor:
    """max(-A rho, -A clip(rho, 1 - clip, 1 + clip)) per token, rho = pi / pi_old; any shape (PPO, equation 7, as a loss)."""
    ratio = (logps - old).exp()
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))


def value_loss(values: Tensor, old: Tensor, returns: Tensor, *, clip: float) -> Tensor:
    """Half of max((V - R)^2, (V_clipped - R)^2) per token; any shape. V_clipped stays within ``clip`` of the old value.

    Not in the PPO paper: from OpenAI's baselines, kept by Ziegler 2019, N+ and TRL.
    """
    clipped = torch.maximum(torch.minimum(values, old + clip), old - clip)
    return 0.5 * torch.maximum((values - returns).square(), (clipped - returns).square())


class RatioStatistics(NamedTuple):
    """How far an optimiser step found the policy from the one that sampled: the mean ratio and the share of ratios outside the clip."""

    ratio: float
    clip_fraction: float


def ratio_statistics(logps: Tensor, old: Tensor, *, clip: float) -> RatioStatistics:
    """The mean of rho = pi / pi_old and the share of tokens with |rho - 1| > clip, over real tokens (tokens,)."""
    ratio = (logps.detach() - old).exp()
    outside = (ratio - 1).abs() > clip
    return RatioStatistics(float(ratio.mean()), float(outside.float().mean()))


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(R - V) / Var(R), a scalar: 1 for a perfect value function, 0 for a constant, below 0 for a harmful one."""
    return 1 - masked_variance(returns - values, mask) / masked_variance(returns, mask).clamp(min=1e-12)


def adapted_coefficient(coefficient: float, kl: float, *, target: float, gain: float) -> float:
    """The KL coefficient after one batch with KL ``kl``: times 1 + gain clip(kl / target - 1, -0.2, 0.2) (Ziegler 2019, section 2.2).

    Their gain is 0.1 over thousands of batches; a run of a dozen batches needs a larger one.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + gain * error)


def minibatches(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    """The items in ``parts`` consecutive runs of nearly equal length; one item each where there are fewer items than parts."""
    parts = min(parts, len(items))
    bounds = [k * len(items) // parts for k in range(parts + 1)]
    return [items[start:stop] for start, stop in pairwise(bounds)]
