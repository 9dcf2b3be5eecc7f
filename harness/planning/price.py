"""What an experiment costs before it runs: the price of a pair and an estimate of time. No torch.

A pair's price is the ledger's: one forward F over the prompt and its two responses; a step is 3 F, and the reference adds F once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from harness.planning.budget import Budget
    from harness.planning.experiment import Experiment
    from harness.training.ledger import Shape

# Useful FLOPs per second of one one-thread process with a tiny model, order of magnitude only: it turns FLOPs into an estimate of time.
THROUGHPUT = 40e9


class Estimate(NamedTuple):
    """Seconds at the declared throughput: one seed's SFT and references, one cell of each budget with its evaluation, the whole grid."""

    stage: float
    cells: Mapping[str, float]
    total: float


def in_row(experiment: Experiment) -> int:
    """Responses of one row of the data: two of a pair, one where responses were labelled one by one."""
    return 1 if experiment.single else 2


def pair_forward(shape: Shape, typical_tokens: tuple[float, float], responses: int = 2) -> float:
    """FLOPs of one forward over a prompt and its responses at typical lengths."""
    prompt, response = (round(tokens) for tokens in typical_tokens)
    return shape.group(prompt, [response] * responses)


def pair_spared(shape: Shape, typical_tokens: tuple[float, float], responses: int = 2) -> float:
    """FLOPs that frozen weights spare the backward over a prompt and its responses; 0 where everything is trained."""
    prompt, response = (round(tokens) for tokens in typical_tokens)
    return shape.unlearnt(prompt + responses * response, responses * response)


def worth(budget: Budget, experiment: Experiment, shape: Shape, typical_tokens: tuple[float, float]) -> float:
    """Canonical FLOPs of a budget, of one in another unit about: what a loss on pairs with a reference spends in it."""
    if budget.flops is not None:
        return budget.flops
    if budget.match == "device-seconds":
        return budget.limit * THROUGHPUT
    responses = in_row(experiment)
    pairs = budget.limit * (experiment.batch_pairs if budget.match == "steps" else 2 / responses)
    forward, spared = (price(shape, typical_tokens, responses) for price in (pair_forward, pair_spared))
    return forward * (3 * pairs + min(pairs, experiment.pairs)) - spared * pairs


def estimate(
    experiment: Experiment, shape: Shape, typical_tokens: tuple[float, float], spending: Mapping[str, Budget], jobs: int
) -> Estimate:
    """A guess at seconds: SFT, evaluation and budgets at ``THROUGHPUT``, cells spread over ``jobs`` processes after their seed's SFT."""
    prompt, response = (round(tokens) for tokens in typical_tokens)
    sft = 3 * experiment.sft_steps * experiment.sft_batch * pair_forward(shape, typical_tokens, responses=3)
    sampled = shape.sampling(prompt, [response])
    pairs = experiment.pairs * (2 * sampled + pair_forward(shape, typical_tokens)) if experiment.source is None else 0.0
    measured = sampled + 2 * pair_forward(shape, typical_tokens, responses=1)
    prompts = experiment.evaluation_prompts + len(experiment.marks) * experiment.mark_prompts + 2 * experiment.probe_prompts
    prompts += sum(part.prompts for suite in experiment.safety_suites for part in suite.slices)
    frontier = experiment.evaluation_prompts * experiment.frontier_samples * measured
    stage = (sft + pairs + frontier) / THROUGHPUT
    cells = {
        spec: (worth(budget, experiment, shape, typical_tokens) + prompts * measured) / THROUGHPUT for spec, budget in spending.items()
    }
    seeds, rounds = len(experiment.seeds), math.ceil(experiment.cell_count / len(cells) / jobs)
    return Estimate(stage, cells, math.ceil(seeds / jobs) * stage + rounds * sum(cells.values()))
