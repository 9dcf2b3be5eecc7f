"""Budgets as a person writes them, what they match, and their amounts: FLOPs, device-seconds, pairs or optimiser steps. No torch."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import HarnessError, near
from harness.planning.footing import BARE
from harness.planning.price import in_row, pair_forward, pair_spared
from harness.training.ledger import UNITS

if TYPE_CHECKING:
    from harness.planning.experiment import Experiment
    from harness.training.ledger import Shape

LEGAL_BUDGETS = (
    "2epochs (what DPO costs for two epochs of the pairs), 2x (twice the task's default), FLOPs such as 1.2e12, "
    "a time such as 90s, 30min or 2h, 5000pairs, 200steps"
)
SPEC = re.compile(r"(?P<amount>[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*(?P<unit>epochs?|x|pairs?|steps?|s|min|h)?", re.IGNORECASE)
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
# What a unit counts by itself; epochs count pairs, steps or what DPO costs for them, as they are asked to.
COUNTS = {"flops": "flops", "pairs": "pairs", "steps": "steps", **dict.fromkeys(SECONDS, "device-seconds")}
EXAMPLES = {"flops": "1.2e12", "device-seconds": "30min", "pairs": "5000pairs", "steps": "200steps"}


class Budget(NamedTuple):
    """What a cell may spend: as written, what is matched, its amount in that unit, and canonical FLOPs where they are what is matched."""

    spec: str
    match: str
    limit: float
    flops: float | None

    def __str__(self) -> str:
        """The amount with its unit: ``1.06e+12 FLOPs``, ``1800 device-seconds``."""
        return amount(self.limit, self.match)


def amount(limit: float, match: str) -> str:
    """An amount with its unit, as a person reads it."""
    return f"{limit:.3g} FLOPs" if match == "flops" else f"{limit:,.6g} {UNITS[match]}"


def parse_budget(spec: str) -> tuple[float, str]:
    """(amount, unit) of a budget, the unit being ``epochs``, ``x``, ``flops``, ``pairs``, ``steps``, ``s``, ``min`` or ``h``.

    Raises HarnessError naming what is legal.
    """
    match = SPEC.fullmatch(spec.strip())
    found = float(match["amount"]) if match else math.nan
    if match is None or not (math.isfinite(found) and found > 0):
        raise HarnessError(f"Budget {spec!r} is not one; legal are {LEGAL_BUDGETS}.")
    unit = (match["unit"] or "flops").lower()
    return found, next((name for name in ("epochs", "pairs", "steps") if unit == name.removesuffix("s")), unit)


def budget_specs(given: Any) -> list[str]:
    """Budgets as written, one or several: ``1x,2x`` and ``["1x", "2x"]`` are the same two; HarnessError where there is none."""
    words = given if isinstance(given, list | tuple) else str(given).split(",")
    specs = [str(word).strip() for word in words if str(word).strip()]
    if not specs:
        raise HarnessError(f"Budget {given!r} is not one; legal are {LEGAL_BUDGETS}, or several of them, as 1x,2x,4x.")
    return specs


def matched_on(specs: Sequence[str], asked: str | None) -> str:
    """What budgets match: what was asked for, else what their unit counts, else FLOPs.

    Raises HarnessError where a unit contradicts what was asked for or another budget, or where epochs are to be a time.
    """
    if asked is not None and asked not in UNITS:
        raise HarnessError(f"Match {asked!r} is not one.{near(asked, UNITS)} Legal: {', '.join(UNITS)}.")
    counted = {spec: COUNTS[unit] for spec in specs if (unit := parse_budget(spec)[1]) in COUNTS}
    match = asked or next(iter(counted.values()), "flops")
    for spec, kind in counted.items():
        if kind != match:
            other = "the match" if asked else f"budget {next(iter(counted))!r}"
            raise HarnessError(f"Budget {spec!r} counts {kind}, {other} {match}; all budgets count one thing: give {EXAMPLES[match]}.")
    if match == "device-seconds" and (vague := [spec for spec in specs if spec not in counted]):
        raise HarnessError(f"Budget {vague[0]!r} is no time, and device-seconds are matched; give one such as {EXAMPLES[match]}.")
    return match


def absolute_budget(spec: str, default: str) -> str:
    """The budget without reference to a default: ``2x`` of ``2epochs`` is ``4epochs``."""
    found, unit = parse_budget(spec)
    if unit == "x":
        base, unit = parse_budget(default)
        found *= base
    return f"{found:.12g}" if unit == "flops" else f"{found:g}{unit}"


def budget_flops(spec: str, experiment: Experiment, shape: Shape, typical_tokens: tuple[float, float]) -> float:
    """Canonical FLOPs of a budget; ``typical_tokens`` are a pair's (prompt, response) lengths. At least one batch must fit.

    Where responses were labelled one by one an epoch is what a loss per response costs for all of them, its reference read once.
    """
    found, unit = parse_budget(spec)
    if unit not in ("epochs", "flops"):
        raise HarnessError(f"Budget {spec!r} is no amount of FLOPs; resolve it first (absolute_budget, matched_on).")
    responses = in_row(experiment)
    forward, spared = (price(shape, typical_tokens, responses) for price in (pair_forward, pair_spared))
    reference = pair_forward(shape.bare(), typical_tokens, responses) if experiment.reference_mode in BARE else forward
    if unit == "epochs" and typical_tokens[1] <= 0:
        raise HarnessError(
            f"Budget {spec!r}: the task does not say how long its texts are, so epochs have no price; give FLOPs, such as 1.2e12."
        )
    apart = forward - reference  # and nothing is spared where no policy is an adapter: to the last bit the price without any
    flops = experiment.pairs * forward * (3 * found + 1) - experiment.pairs * (spared * found + apart) if unit == "epochs" else found
    step = (4 * forward - spared - apart) * min(experiment.batch_pairs, experiment.pairs)
    if flops < step:
        raise HarnessError(
            f"Budget {spec!r} is {flops:.3g} FLOPs, too small for one step: "
            f"a batch of {experiment.batch_pairs} {'responses' if experiment.single else 'pairs'} costs {step:.3g} FLOPs."
        )
    return flops


def budgets(experiment: Experiment, shape: Shape, typical_tokens: tuple[float, float]) -> dict[str, Budget]:
    """Every budget of the experiment by its spec; HarnessError where two are the same amount or one pays for no step."""
    found: dict[str, Budget] = {}
    for spec in experiment.budget:
        flops = budget_flops(spec, experiment, shape, typical_tokens) if experiment.match == "flops" else None
        limit = _limit(spec, experiment) if flops is None else flops
        new = Budget(spec, experiment.match, limit, flops)
        if same := [other.spec for other in found.values() if other.limit == limit]:
            raise HarnessError(f"Budgets {same[0]!r} and {spec!r} are the same {new}; give each once.")
        found[spec] = new
    return found


def _limit(spec: str, experiment: Experiment) -> float:
    """The amount of a budget that is not matched on FLOPs; a whole number of steps, and at least one step of pairs."""
    found, unit = parse_budget(spec)
    if unit in SECONDS:
        return found * SECONDS[unit]
    worth = in_row(experiment) / 2  # of a row in pairs, as ledgers count
    batch = min(experiment.batch_pairs, experiment.pairs) * worth
    pairs = found * (experiment.pairs * worth if unit == "epochs" else 1)
    least, limit = (1, math.ceil(pairs / batch)) if experiment.match == "steps" and unit == "epochs" else (batch, pairs)
    if experiment.match == "steps" and unit == "steps":
        least, limit = 1, found
    if limit < least or (experiment.match == "steps" and limit != int(limit)):
        raise HarnessError(f"Budget {spec!r} is not a whole step: give steps as a whole number, or at least {batch:g} pairs, one batch.")
    return float(limit)
