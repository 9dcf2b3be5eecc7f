"""DPO with an offset (Amini et al. 2024, https://arxiv.org/abs/2402.10571): pairs that differ more must be told apart more.

Needs the ``margin`` of every pair, by how much the chosen response was rated higher, which data with ratings bring
(docs/data.md); the error of data without it says so. ``scale`` 0 is DPO.
"""

from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import preference_loss

TIE = 1e-6  # a margin that is none: its logarithm asks for nothing
grid = {"beta": (5.0, 0.7, 0.2)}  # DPO's; where they lie along KL was not measured for this loss
optimiser = {"learning_rate": 1e-3, "clip": 1.0}
search = {"scale": (0.1, 2.0, "log", "the paper's 1, and a tenth and twice of it")}


@preference_loss(source="arXiv:2402.10571", knob="beta", positive=("beta",), conventions={"reduction": "sum", "offset": "offset"})
def algorithm(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    margin: Tensor,
    *,
    beta: float = 0.1,
    scale: float = 1.0,
    offset: Literal["log", "identity"] = "log",
) -> Tensor:
    """-log sigma(beta h - scale f(margin)) per pair, (pairs,); f is the logarithm or nothing; h is DPO's gap, token sums in nats."""
    gap = (chosen - ref_chosen) - (rejected - ref_rejected)
    asked = margin.clamp(min=TIE).log() if offset == "log" else margin
    return -logsigmoid(beta * gap - scale * asked)
