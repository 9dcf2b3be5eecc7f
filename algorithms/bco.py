"""Binary classifier optimisation (Jung et al. 2024, https://arxiv.org/abs/2404.04656): each response is classified by itself.

The logit is the implicit reward less a shift delta, half of the mean reward of chosen and of rejected responses, which the paper keeps
as a running mean: here over all pairs that the run has trained on, this batch included and without gradient, like the authors' code.
TRL 1.16 keeps ``bco_pair``, whose delta is 0. Where data label responses one by one, ``single`` is the same loss per response; the paper's
weights against prompts that responses of one kind alone answer need a model of prompts, and are left out.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from harness import preference_loss
from harness.training.loss_signature import BatchStatistics

grid = {"beta": (1.0, 0.3, 0.1)}  # up from the usual 0.1, for short responses; where they lie along KL was not measured
optimiser = {"learning_rate": 1e-3, "clip": 1.0}


@preference_loss(source="arXiv:2404.04656", knob="beta", positive=("beta",), conventions={"reduction": "sum", "delta": "running mean"})
def algorithm(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    batch: BatchStatistics,
    state: dict[str, Tensor],
    *,
    beta: float = 0.1,
) -> Tensor:
    """-log sigma(beta c - delta) - log sigma(-(beta r - delta)) per pair, (pairs,); c, r: log pi - log ref, token sums in nats."""
    delta = shift(batch, state, beta)
    return -logsigmoid(beta * (chosen - ref_chosen) - delta) - logsigmoid(delta - beta * (rejected - ref_rejected))


def single(
    logps: Tensor, ref_logps: Tensor, desirable: Tensor, batch: BatchStatistics, state: dict[str, Tensor], *, beta: float = 0.1
) -> Tensor:
    """-log sigma(+-(beta (log pi - log ref) - delta)) per response, (responses,): + where desirable, - where not."""
    margin = beta * (logps - ref_logps) - shift(batch, state, beta)
    return -logsigmoid(torch.where(desirable, margin, -margin))


def shift(batch: BatchStatistics, state: dict[str, Tensor], beta: float) -> Tensor:
    """delta, a scalar: the running mean over pairs, or as many couples of single responses, with this batch among them."""
    found = beta * (batch.chosen_ratio + batch.rejected_ratio) / 2
    pairs, mean = state.get("pairs", found.new_zeros(())), state.get("delta", found.new_zeros(()))
    state["pairs"] = pairs + batch.pairs
    state["delta"] = mean + (found - mean) * batch.pairs / state["pairs"]
    return state["delta"]
