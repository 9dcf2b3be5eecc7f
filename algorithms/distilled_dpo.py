"""Distilled DPO: a regression of DPO's gap onto a reward model's (Fisch et al. 2024, arXiv 2405.19316, reward model distillation, d-DPO).

A reward model is fitted on the pairs first, within its share of this run's budget, and scores both responses of a pair when the pair is
first used. The label is read by the reward model alone: where that ranks a pair the other way, so does this loss. Its minimum over all
pairs is the reference tilted by exp(r / beta) of the fitted reward, which is finite where labels without noise have none.
"""

from torch import Tensor

from harness import preference_loss

grid = {"beta": (5.0, 0.7, 0.2)}  # DPO's; where they lie along KL was not measured for this loss
optimiser = {"learning_rate": 1e-3, "clip": 10.0}  # of squares, as ipo
optimum = "reward-tilt"  # of the reward model that it is given


@preference_loss(source="arXiv:2405.19316 L_distill", knob="beta", positive=("beta",), conventions={"reduction": "sum"})
def algorithm(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, reward: Tensor, *, beta: float = 0.1) -> Tensor:
    """(r_w - r_l - beta h)^2 per pair, (pairs,); ``reward`` is (pairs, 2), h is DPO's gap, token sums in nats."""
    gap = (chosen - ref_chosen) - (rejected - ref_rejected)
    return (reward[:, 0] - reward[:, 1] - beta * gap).square()
