"""Robust DPO (Chowdhury et al. 2024, https://arxiv.org/abs/2403.00409, the loss of rDPO): DPO's loss, unbiased under flipped labels.

Labels are taken to be flipped with probability e = ``label_smoothing``. cDPO (``dpo.label_smoothing``) averages the losses of both
labels and so learns the noise as well; subtracting the flipped one and dividing by 1 - 2 e gives, in the mean over flips, the loss of the
true labels. It is not bounded below: what the policy has confidently right is pushed on, with slope beta e / (1 - 2 e).
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import HarnessError, preference_loss

grid = {"beta": (5.0, 0.7, 0.2)}  # DPO's; where they lie along KL was not measured for this loss
optimiser = {"learning_rate": 1e-3, "clip": 1.0}
search = {"label_smoothing": (0.05, 0.4, "linear", "the flip rates that the paper tries, 0.1 to 0.4, and half the least of them")}


@preference_loss(source="arXiv:2403.00409 rDPO", knob="beta", positive=("beta",), conventions={"reduction": "sum"})
def algorithm(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, *, beta: float = 0.1, label_smoothing: float = 0.1
) -> Tensor:
    """[-(1 - e) log sigma(beta h) + e log sigma(-beta h)] / (1 - 2 e) per pair, (pairs,); token sums in nats.

    Raises HarnessError unless 0 <= e < 1/2: labels that are noise say nothing.
    """
    if not 0 <= label_smoothing < 0.5:
        raise HarnessError(f"robust_dpo.label_smoothing = {label_smoothing}: must be at least 0 and below 0.5.")
    logit = beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
    return (-(1 - label_smoothing) * logsigmoid(logit) + label_smoothing * logsigmoid(-logit)) / (1 - 2 * label_smoothing)
