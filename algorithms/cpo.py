"""Contrastive preference optimisation (Xu et al. 2024, https://arxiv.org/abs/2401.08417, L_CPO; equation 3 is its first term).

DPO with a uniform reference, which drops out, held near the data by the likelihood of the chosen response. The paper writes that
likelihood as a sum; its authors' code (and TRL's trainer, which is theirs) takes the mean over tokens, as here, each response's own.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import preference_loss

grid = {"beta": (1.0, 0.3, 0.1)}  # up from the usual 0.1, for short responses; where they lie along KL was not measured
optimiser = {"learning_rate": 1e-3, "clip": 1.0}
search = {"nll_weight": (0.25, 4.0, "log", "a factor 4 around the paper's 1")}


@preference_loss(
    source="arXiv:2401.08417 L_CPO", knob="beta", positive=("beta",), has_nll=True, conventions={"reduction": "sum", "nll": "mean"}
)
def algorithm(chosen: Tensor, rejected: Tensor, chosen_lengths: Tensor, *, beta: float = 0.1, nll_weight: float = 1.0) -> Tensor:
    """-log sigma(beta (log pi(y_w) - log pi(y_l))) - nll_weight log pi(y_w)/n_w per pair, (pairs,); token sums in nats."""
    return -logsigmoid(beta * (chosen - rejected)) - nll_weight * chosen / chosen_lengths
