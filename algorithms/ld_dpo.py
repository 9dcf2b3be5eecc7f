"""Length-desensitised DPO (Liu et al. 2024, https://arxiv.org/abs/2409.06411, the loss L_LD-DPO): what is beyond the shorter counts less.

A sum over more tokens moves more, so DPO learns length from pairs that differ in it. Here tokens beyond the length of the pair's shorter
response are weighted by ``alpha`` in the log-probs of policy and reference alike: 1 is DPO, 0 reads both responses only as far as both
go.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import preference_loss
from harness.training.loss_signature import TokenLogps

grid = {"beta": (5.0, 0.7, 0.2)}  # DPO's; where they lie along KL was not measured for this loss
optimiser = {"learning_rate": 1e-3, "clip": 1.0}
search = {"alpha": (0.0, 1.0, "linear", "all of its range")}


@preference_loss(source="arXiv:2409.06411 L_LD-DPO", knob="beta", positive=("beta",), conventions={"reduction": "sum"})
def algorithm(tokens: TokenLogps, ref_tokens: TokenLogps, *, beta: float = 0.1, alpha: float = 0.5) -> Tensor:
    """-log sigma(beta h') per pair, (pairs,): DPO's gap h in nats with ``alpha`` times what stands beyond the shorter response."""
    gap = (tokens.chosen - ref_tokens.chosen) - (tokens.rejected - ref_tokens.rejected)
    weight = alpha + (1 - alpha) * (tokens.chosen_mask & tokens.rejected_mask).to(gap)
    return -logsigmoid(beta * (weight * gap).sum(1))
