"""What an answer costs where answering is dearer and no training is bought: a few training prompts, answered and charged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.errors import HarnessError
from harness.types import Setup, Update

if TYPE_CHECKING:
    from harness.models.metered import Metered


def serve(setup: Setup, policy: Metered, prompts: int, price: float) -> Update:
    """Let ``policy`` be measured in the trained one's place, after it has answered up to ``prompts`` fresh prompts at this run's expense.

    ``price`` is about what an answer costs, FLOPs; fewer prompts where the budget pays for fewer, and HarnessError where for none. The
    update says what an answer took, ``answer_flops``, and gold of the answers, which is only looked at.
    """
    ledger = setup.ledger
    affordable = int(min(prompts, ledger.fits(price, pairs=1, steps=1)))
    asked = setup.prompts(affordable) if affordable else []
    if not asked:
        raise HarnessError(f"what is left of the budget pays for no answer of about {price:.3g} FLOPs.")
    before = ledger.canonical["rollout"]
    with ledger.phase("rollout"):
        rows = policy.sample(asked, max_tokens=setup.max_response_tokens, generator=setup.generator)
    ledger.count(prompts=len(asked))
    ledger.distinct(prompts=asked)
    setup.serve(policy)
    answers = [row[0] for row in rows]
    found = {
        "answer_flops": (ledger.canonical["rollout"] - before) / len(asked),
        "length": float(np.mean([len(answer.ids) for answer in answers])),
        "eos_rate": float(np.mean([answer.finished for answer in answers])),
    }
    if setup.score is not None:
        with ledger.phase("evaluation"):
            found["gold"] = float(np.mean(setup.score(asked, answers)))
    return Update("rollout", int(ledger.counts["steps"]), found)


def typical(setup: Setup) -> tuple[int, int]:
    """Mean lengths of the pairs' prompts and responses, tokens."""
    pairs = setup.pairs
    prompt = sum(len(pair.prompt) for pair in pairs) // len(pairs)
    return prompt, sum(len(pair.chosen) + len(pair.rejected) for pair in pairs) // sum(len(pair.sides) for pair in pairs)
