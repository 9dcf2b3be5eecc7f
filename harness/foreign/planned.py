"""The batches and learning rates of the offline loop, known before anything is trained, so that another trainer can be given the same.

A budget in FLOPs, pairs or steps is spent by what batches hold and not by what they teach, so a run can be rehearsed on a ledger of its
own: the same draws from the run's generator, the same prices, and so the same rows, steps and rates as the offline loop would take.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.errors import HarnessError
from harness.training.batches import Batch, ReferenceKey, affordable, largest, pairs_in, passes, rows, take
from harness.training.ledger import Ledger
from harness.training.loss_signature import LossSignature
from harness.training.schedule import schedule
from harness.types import Setup

PAIRED = LossSignature(("chosen", "rejected", "ref_chosen", "ref_rejected"), {})
UNPAIRED = LossSignature(("logps", "ref_logps", "desirable", "z0"), {})


class Step(NamedTuple):
    """An optimiser step to come: its batch, and the factor on the peak rate that it is taken at."""

    batch: Batch
    rate: float


def planned(setup: Setup, signature: LossSignature, name: str) -> list[Step]:
    """Every step that the budget pays for, drawn from the run's generator. HarnessError where it pays for none, or is in seconds."""
    ledger = setup.ledger
    if ledger.match == "device-seconds":
        raise HarnessError(f"algorithm '{name}': its steps are planned before it trains, which seconds do not allow; match flops or steps.")
    rehearsal = Ledger(ledger.limit, ledger.match)
    size = min(setup.batch_pairs, largest(setup.pairs, signature))
    stream, paid, steps = rows(setup.pairs, signature, setup.generator), set[ReferenceKey](), list[Step]()
    shapes = setup.policy.shape, setup.reference.shape
    while True:
        batch = affordable(take(stream, size), signature, shapes[0], paid, rehearsal, setup.generator, shapes[1])
        if batch is None:
            break
        charge(rehearsal, setup, batch, signature)
        paid |= batch.due.keys()
        steps.append(Step(batch, schedule(rehearsal.share)))
    if not steps:
        raise ledger.too_small(f"algorithm '{name}'")
    return steps


def charge(ledger: Ledger, setup: Setup, batch: Batch, signature: LossSignature) -> None:
    """Charge a batch as the offline loop does: references once, what is mismatched by both models, a forward and a backward; and count."""
    theirs = setup.reference.shape
    with ledger.phase("reference"):
        ledger.charge(theirs.scoring([*batch.due.values(), *batch.mismatched]))
    with ledger.phase("update"):
        ledger.charge(setup.policy.shape.scoring(batch.mismatched))
        ledger.charge(setup.policy.shape.learning([each.group() for each in batch.examples]))
    pairs, fresh = pairs_in(batch.examples, signature), ledger.distinct(pairs=(each.pair.row for each in batch.examples))
    ledger.distinct(prompts=(each.pair.prompt for each in batch.examples))
    ledger.count(steps=1, labels=fresh, pairs=pairs, epochs=passes(pairs, setup.pairs))


def tokens(steps: Sequence[Step]) -> int:
    """Tokens of the steps' rows, each prompt once per row."""
    groups = [each.group() for step in steps for each in step.batch.examples]
    return sum(len(group.prompt) + sum(map(len, group.responses)) for group in groups)
