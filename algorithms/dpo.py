"""Direct preference optimisation (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7).

A classifier of pairs whose logit is beta times the gap h of policy-to-reference log-ratios. ``label_smoothing`` is the conservative
variant (cDPO, https://ericmitchell.ai/cdpo.pdf): labels are taken to be flipped with that probability, so h stops at a finite gap.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import preference_loss

grid = {"beta": (5.0, 0.7, 0.2)}  # about KL 0.5, 1.5 and 3 on tuning prompts
optimiser = {"learning_rate": 1e-3, "clip": 1.0}
optimum = "reward-tilt"  # the KL-regularised optimum of a Bradley-Terry reward (equations 4 and 5)
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "a factor 4 around the default, at which the embedded model trains"),
    "clip": (0.25, 4.0, "log", "a factor 4 around the default"),
}


@preference_loss(source="arXiv:2305.18290 eq. 7", knob="beta", positive=("beta",), conventions={"reduction": "sum"})
def algorithm(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, *, beta: float = 0.1, label_smoothing: float = 0.0
) -> Tensor:
    """-(1 - e) log sigma(beta h) - e log sigma(-beta h) per pair, (pairs,), with e the label smoothing.

    h = log pi(y_w)/ref(y_w) - log pi(y_l)/ref(y_l), token sums in nats.
    """
    gap = (chosen - ref_chosen) - (rejected - ref_rejected)
    return -(1 - label_smoothing) * logsigmoid(beta * gap) - label_smoothing * logsigmoid(-beta * gap)
