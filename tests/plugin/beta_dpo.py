"""beta-DPO (Wu et al. 2024, https://arxiv.org/abs/2407.08639): beta follows the mean implicit-reward gap of the batch."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import preference_loss
from harness.training.loss_signature import BatchStatistics


@preference_loss(source="arXiv:2407.08639", knob="beta", stops_gradient=True, positive=("beta",))
def algorithm(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    batch: BatchStatistics,
    state: dict[str, Tensor],
    *,
    beta: float = 0.1,
    scale: float = 0.6,
    momentum: float = 0.9,
) -> Tensor:
    """-log sigma(beta (1 + scale (M - M0)) h), M = beta mean h of the optimiser batch, M0 its moving average before this step."""
    gap = beta * batch.gap
    before = state.get("average", gap)
    state["average"] = momentum * before + (1 - momentum) * gap
    dynamic = beta * (1 + scale * (gap - before)).clamp(min=1e-3)
    return -logsigmoid(dynamic * ((chosen - ref_chosen) - (rejected - ref_rejected)))
