"""The hinge of SLiC (Zhao et al. 2023, https://arxiv.org/abs/2305.10425) on log-ratios (Liu et al. 2023, RSO, arXiv 2309.06657).

SLiC calibrates log-probs by a hinge and holds the policy with a likelihood term; RSO's hinge-norm, here as in TRL, normalises by the
reference instead. A pair whose gap has reached 1 / beta nats teaches nothing more, so the gap stops about there, as IPO's does at its
target, but is never pulled back.
"""

from torch import Tensor

from harness import preference_loss

ALIASES = ("slic",)
grid = {"beta": (1.0, 0.3, 0.1)}  # gaps of 1, 3 and 10 nats, about IPO's targets; where they lie along KL was not measured
optimiser = {"learning_rate": 1e-3, "clip": 1.0}


@preference_loss(source="arXiv:2305.10425; arXiv:2309.06657", knob="beta", positive=("beta",), conventions={"reduction": "sum"})
def algorithm(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, *, beta: float = 0.3) -> Tensor:
    """max(0, 1 - beta h) per pair, (pairs,); h = log pi(y_w)/ref(y_w) - log pi(y_l)/ref(y_l), token sums in nats."""
    return (1 - beta * ((chosen - ref_chosen) - (rejected - ref_rejected))).relu()
