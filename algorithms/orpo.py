"""Odds ratio preference optimisation (Hong et al. 2024, https://arxiv.org/abs/2403.07691, equations 4, 6 and 7).

Likelihood of the chosen response plus an odds ratio, without a reference. The paper goes on from a model before SFT, whose stage it
saves: ``--set orpo.init=base``. Here it starts from SFT like the others, because SFT is charged to nobody and because the models
that are built on the spot have random weights before it.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import preference_loss

CERTAIN = -1e-6  # a mean log-prob nearer to 0 has odds that float32 cannot tell from infinite
grid = {"weight": (0.1, 1.0, 10.0)}  # up from the paper's 0.1, which hardly leaves likelihood; where they lie along KL was not measured
optimiser = {"learning_rate": 1e-3, "clip": 1.0}


@preference_loss(source="arXiv:2403.07691 eq. 6", knob="weight", has_nll=True, conventions={"reduction": "mean"})
def algorithm(chosen: Tensor, rejected: Tensor, chosen_lengths: Tensor, rejected_lengths: Tensor, *, weight: float = 0.1) -> Tensor:
    """-log p_w - weight log sigma(log odds(p_w) - log odds(p_l)) per pair, (pairs,).

    p is the geometric mean probability of a response's tokens (equation 3), odds(p) = p / (1 - p); ``weight`` is the paper's lambda.
    """
    good, bad = chosen / chosen_lengths, rejected / rejected_lengths
    log_odds = (good - bad) - (_log_of_rest(good) - _log_of_rest(bad))
    return -good - weight * logsigmoid(log_odds)


def _log_of_rest(mean: Tensor) -> Tensor:
    """log(1 - p) where log p is ``mean``."""
    return torch.log(-torch.expm1(mean.clamp(max=CERTAIN)))
