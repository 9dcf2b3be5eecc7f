"""The supervised fine-tuned reference: where every algorithm starts and what every KL is measured against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.data.tokenise import Tokens
from harness.models import threads
from harness.models.metered import Metered
from harness.models.partners import partnered
from harness.types import Group, Task, Update


def sft_schedule(progress: float) -> float:
    """Share of the peak rate: warm-up 4 %, constant to half of the steps, then linear to 5 %."""
    if progress < 0.04:
        return max(progress, 0.001) / 0.04
    return 1.0 if progress < 0.5 else 1.0 - 0.95 * (progress - 0.5) / 0.5


def fit_reference(
    model: Metered, task: Task, tokens: Tokens, *, steps: int, batch: int, learning_rate: float, generator: np.random.Generator
) -> Iterator[Update]:
    """Train ``model`` on demonstrations, loss on response tokens only (mean over the batch's tokens); yields an update per step.

    Demonstrations with several references share their prompt's forward. Nothing here is charged to any algorithm.
    """
    model.optimise(learning_rate=learning_rate, betas=(0.9, 0.98), weight_decay=0.01, clip=1.0)
    batches = (tokens.demonstrations(task.demonstrations(generator, batch)) for _ in range(steps))
    with partnered(model, _part) as whole:
        for step, groups in enumerate(threads.ahead(batches)):
            if not groups:
                continue
            loss = sum(whole(groups, sum(len(r) for g in groups for r in g.responses)))
            stats = model.step(step / steps, plan=sft_schedule)
            yield Update("sft", step + 1, {"loss": loss, "gradient_norm": stats.gradient_norm, "share": (step + 1) / steps})


def _part(model: Metered, groups: Sequence[Group], total: float) -> float:
    """Part of the mean negative log-prob over ``total`` tokens, nats, and its gradients."""
    loss = -model.token_logps(groups).values.sum() / total
    model.backward(loss)
    return float(loss.detach())
