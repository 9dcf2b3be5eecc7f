"""What an experiment costs before it runs: budgets in canonical FLOPs and an estimate of time. No torch.

A pair's price is the ledger's: one forward F over the prompt and its two responses; a step is 3 F, and the reference adds F once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.experiment import Experiment
    from harness.training.ledger import Shape

# Useful FLOPs per second of one one-thread process with a tiny model, order of magnitude only: it turns FLOPs into an estimate of time.
THROUGHPUT = 40e9
LEGAL_BUDGETS = "2epochs (what DPO costs for two epochs of the pairs), 2x (twice the task's default) or FLOPs such as 1.2e12"
SPEC = re.compile(r"(?P<amount>[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*(?P<unit>epochs?|x)?", re.IGNORECASE)


class Budget(NamedTuple):
    """What a cell may spend: as written, what is matched, its amount in that unit, and canonical FLOPs where they are what is matched."""

    spec: str
    match: str
    limit: float
    flops: float | None


class Estimate(NamedTuple):
    """Seconds at the declared throughput: one seed's SFT and references, one cell of each budget with its evaluation, the whole grid."""

    stage: float
    cells: Mapping[str, float]
    total: float


def parse_budget(spec: str) -> tuple[float, str]:
    """(amount, unit) of a budget, the unit being ``epochs``, ``x`` or ``flops``; HarnessError naming what is legal."""
    match = SPEC.fullmatch(spec.strip())
    amount = float(match["amount"]) if match else math.nan
    if match is None or not (math.isfinite(amount) and amount > 0):
        raise HarnessError(f"Budget {spec!r} is not one; legal are {LEGAL_BUDGETS}.")
    unit = (match["unit"] or "flops").lower()
    return amount, "epochs" if unit.startswith("epoch") else unit


def budget_specs(given: Any) -> list[str]:
    """Budgets as written, one or several: ``1x,2x`` and ``["1x", "2x"]`` are the same two; HarnessError where there is none."""
    words = given if isinstance(given, list | tuple) else str(given).split(",")
    specs = [str(word).strip() for word in words if str(word).strip()]
    if not specs:
        raise HarnessError(f"Budget {given!r} is not one; legal are {LEGAL_BUDGETS}, or several of them, as 1x,2x,4x.")
    return specs


def absolute_budget(spec: str, default: str) -> str:
    """The budget without reference to a default: ``2x`` of ``2epochs`` is ``4epochs``."""
    amount, unit = parse_budget(spec)
    if unit == "x":
        base, unit = parse_budget(default)
        amount *= base
    return f"{amount:g}epochs" if unit == "epochs" else f"{amount:.12g}"


def budget_flops(spec: str, experiment: Experiment, shape: Shape, typical_tokens: tuple[float, float]) -> float:
    """Canonical FLOPs of a budget; ``typical_tokens`` are a pair's (prompt, response) lengths. At least one batch must fit."""
    amount, unit = parse_budget(spec)
    if unit == "x":
        raise HarnessError(f"Budget {spec!r} refers to a default; resolve it first (absolute_budget).")
    forward = pair_forward(shape, typical_tokens)
    if unit == "epochs" and typical_tokens[1] <= 0:
        raise HarnessError(
            f"Budget {spec!r}: the task does not say how long its texts are, so epochs have no price; give FLOPs, such as 1.2e12."
        )
    flops = experiment.pairs * forward * (3 * amount + 1) if unit == "epochs" else amount
    step = 4 * forward * min(experiment.batch_pairs, experiment.pairs)
    if flops < step:
        raise HarnessError(
            f"Budget {spec!r} is {flops:.3g} FLOPs, too small for one step: "
            f"a batch of {experiment.batch_pairs} pairs costs {step:.3g} FLOPs."
        )
    return flops


def budgets(experiment: Experiment, shape: Shape, typical_tokens: tuple[float, float]) -> dict[str, Budget]:
    """Every budget of the experiment by its spec; HarnessError where two are the same amount or one pays for no step."""
    found: dict[str, Budget] = {}
    for spec in experiment.budget:
        flops = budget_flops(spec, experiment, shape, typical_tokens)
        if same := [other.spec for other in found.values() if other.limit == flops]:
            raise HarnessError(f"Budgets {same[0]!r} and {spec!r} are the same {flops:.3g} FLOPs; give each once.")
        found[spec] = Budget(spec, "flops", flops, flops)
    return found


def pair_forward(shape: Shape, typical_tokens: tuple[float, float], responses: int = 2) -> float:
    """FLOPs of one forward over a prompt and its responses at typical lengths."""
    prompt, response = (round(tokens) for tokens in typical_tokens)
    return shape.group(prompt, [response] * responses)


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
    frontier = experiment.evaluation_prompts * experiment.frontier_samples * measured
    stage = (sft + pairs + frontier) / THROUGHPUT
    cells = {spec: (budget.limit + prompts * measured) / THROUGHPUT for spec, budget in spending.items()}
    seeds, rounds = len(experiment.seeds), math.ceil(experiment.cell_count / len(cells) / jobs)
    return Estimate(stage, cells, math.ceil(seeds / jobs) * stage + rounds * sum(cells.values()))
