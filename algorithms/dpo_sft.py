"""DPO plus the likelihood of the chosen response (Pang et al. 2024, https://arxiv.org/abs/2404.19733, equation 1), called RPO.

The likelihood term keeps the chosen response from falling with the rejected one. Liu et al. 2024 (arXiv 2405.16436) derive the same
sum as a remedy for over-optimisation. The term is a mean over tokens, as Pang et al. and TRL have it (TRL's over a whole micro-batch).
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import preference_loss

ALIASES = ("rpo",)
grid = {"beta": (5.0, 0.7, 0.2)}  # DPO's; where they lie along KL was not measured for this loss
optimiser = {"learning_rate": 1e-3, "clip": 1.0}
search = {"nll_weight": (0.25, 4.0, "log", "a factor 4 around the paper's 1")}


@preference_loss(
    source="arXiv:2404.19733 eq. 1; arXiv:2405.16436",
    knob="beta",
    positive=("beta",),
    has_nll=True,
    conventions={"reduction": "sum", "nll": "mean"},
)
def algorithm(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    chosen_lengths: Tensor,
    *,
    beta: float = 0.1,
    nll_weight: float = 1.0,
) -> Tensor:
    """-log sigma(beta h) - nll_weight log pi(y_w)/n_w per pair, (pairs,); h is DPO's gap, token sums in nats."""
    gap = (chosen - ref_chosen) - (rejected - ref_rejected)
    return -logsigmoid(beta * gap) - nll_weight * chosen / chosen_lengths
