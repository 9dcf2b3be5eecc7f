"""WPO (Zhou et al. 2024, https://arxiv.org/abs/2406.11827): DPO with pairs weighted by how likely the policy is to write them.

The paper's plain weight, without its weight alignment.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import preference_loss


@preference_loss(source="arXiv:2406.11827", knob="beta", has_nll=True, stops_gradient=True, positive=("beta",))
def algorithm(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float = 0.1,
) -> Tensor:
    """-w_w w_l log sigma(beta h), w = exp(log pi / n), detached and at most 1."""
    weight = (chosen / chosen_lengths + rejected / rejected_lengths).detach().exp().clamp(max=1)
    return -weight * logsigmoid(beta * ((chosen - ref_chosen) - (rejected - ref_rejected)))
