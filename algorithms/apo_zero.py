"""Anchored preference optimisation, the variant APO-zero (D'Oosterlinck et al. 2024, https://arxiv.org/abs/2408.06266, equation 7).

DPO only widens a gap; this says where both ends go: the chosen response up and the rejected one down, each against the reference by
itself. It is meant for chosen responses that are better than what the model writes.
"""

from torch import Tensor

from harness import preference_loss

grid = {"beta": (1.0, 0.3, 0.1)}  # up from the usual 0.1, for short responses; where they lie along KL was not measured
optimiser = {"learning_rate": 1e-3, "clip": 1.0}


@preference_loss(source="arXiv:2408.06266 eq. 7", knob="beta", positive=("beta",), conventions={"reduction": "sum"})
def algorithm(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, *, beta: float = 0.1) -> Tensor:
    """1 - sigma(beta c) + sigma(beta r) per pair, (pairs,); c and r are log pi - log ref of chosen and rejected, token sums in nats.

    The paper's -sigma(beta c) + sigma(beta r) and TRL's constant, which keeps it above 0.
    """
    return 1 - (beta * (chosen - ref_chosen)).sigmoid() + (beta * (rejected - ref_rejected)).sigmoid()
