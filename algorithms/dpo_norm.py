"""Length-normalised DPO (Lambert et al. 2024, Tulu 3, https://arxiv.org/abs/2411.15124, section 5): DPO on means over tokens.

The logit is a difference of log-ratios per token, so a response gains nothing by being long and ``beta`` is larger than DPO's by about
a response's length: Tulu 3 uses 5.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import preference_loss

grid = {"beta": (50.0, 10.0, 5.0)}  # up from Tulu 3's 5, for short responses; where they lie along KL was not measured
optimiser = {"learning_rate": 1e-3, "clip": 1.0}


@preference_loss(source="arXiv:2411.15124 section 5", knob="beta", positive=("beta",), conventions={"reduction": "mean"})
def algorithm(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float = 5.0,
) -> Tensor:
    """-log sigma(beta (c/n_w - r/n_l)) per pair, (pairs,); c, r token sums of log pi - log ref in nats, n token counts with EOS."""
    return -logsigmoid(beta * ((chosen - ref_chosen) / chosen_lengths - (rejected - ref_rejected) / rejected_lengths))
