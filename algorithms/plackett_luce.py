"""DPO on rankings (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, appendix A.3): the Plackett-Luce model.

The likelihood of a ranking is that of choosing the best of what is left, K - 1 times. A pair is a ranking of two, of which this is DPO.
Data that rank more than two responses to a prompt, without ties, are read as such: each response once, where DPO reads it in K - 1 pairs.
"""

from torch import Tensor

from harness import preference_loss

ALIASES = ("dpo_pl",)
grid = {"beta": (5.0, 0.7, 0.2)}  # DPO's, which it is on pairs
optimiser = {"learning_rate": 1e-3, "clip": 1.0}
optimum = "reward-tilt"  # as DPO's


@preference_loss(source="arXiv:2305.18290 appendix A.3", knob="beta", positive=("beta",), conventions={"reduction": "sum"})
def algorithm(ranked: Tensor, ref_ranked: Tensor, *, beta: float = 0.1) -> Tensor:
    """-sum_k log softmax(beta (log pi - log ref) of places k to K) at k, per list, (prompts,).

    Both arguments are (prompts, K), the best response first, token sums in nats.
    """
    rewards = beta * (ranked - ref_ranked)
    left = rewards.flip(1).logcumsumexp(1).flip(1)
    return (left - rewards).sum(1)
