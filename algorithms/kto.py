"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306, equation 7: L_KTO).

Learns from single responses marked desirable or undesirable: a gain or loss against a reference point z0, saturating in both
directions. z0 comes from the loop: the mean log-ratio of prompts with responses to other prompts over the whole optimiser batch,
mismatched anew every step (``kl_scope`` global; the authors' and TRL's code take one micro-batch), without gradient. It is not
KL(policy || reference). Keep desirable_weight n_D / (undesirable_weight n_U) in [1, 1.5] (the paper, on class imbalance).
"""

import torch
from torch import Tensor

from harness import preference_loss

grid = {"beta": (2.0, 0.5, 0.1)}  # KL 1.5, 2.0, 3.8 on tuning prompts: it rises again above beta 2, so 0.5 cannot be reached
optimiser = {"learning_rate": 1e-3, "clip": 1.0}
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "a factor 4 around the default, at which the embedded model trains"),
    "clip": (0.25, 4.0, "log", "a factor 4 around the default"),
}


@preference_loss(source="arXiv:2402.01306 eq. 7", knob="beta", positive=("beta",), conventions={"reduction": "sum", "kl_scope": "global"})
def algorithm(
    logps: Tensor,
    ref_logps: Tensor,
    desirable: Tensor,
    z0: Tensor,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """Weight (1 - sigma(+-beta (log pi/ref - z0))) per response, (responses,): + where desirable, - where not.

    z0 is clamped at 0 here; token sums in nats. The value is divided by the number of responses, not by the sum of weights.
    """
    margin = beta * (logps - ref_logps - z0.clamp(min=0))
    gained = desirable_weight * (1 - torch.sigmoid(margin))
    lost = undesirable_weight * (1 - torch.sigmoid(-margin))
    return torch.where(desirable, gained, lost)
