"""ORPO (Hong et al. 2024, https://arxiv.org/abs/2403.07691, equations 4-7): likelihood plus an odds ratio, without a reference."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import preference_loss


@preference_loss(source="arXiv:2403.07691", knob="weight", has_nll=True, conventions={"reduction": "mean"})
def algorithm(chosen: Tensor, rejected: Tensor, chosen_lengths: Tensor, rejected_lengths: Tensor, *, weight: float = 0.1) -> Tensor:
    """-log p_w - weight log sigma(log odds(p_w) - log odds(p_l)), p the geometric mean probability of a token."""
    good, bad = chosen / chosen_lengths, rejected / rejected_lengths
    log_odds = (good - bad) - (torch.log(-torch.expm1(good)) - torch.log(-torch.expm1(bad)))
    return -good - weight * logsigmoid(log_odds)
