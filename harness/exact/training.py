"""Any algorithm trained in a known world: its own updates, on a Metered, by the loop that trains language models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch

from harness.exact.world import EOS, FIRST, PAD, World, population
from harness.models.enumerable import Enumerable, log_probs
from harness.models.metered import Metered
from harness.training.ledger import Ledger
from harness.types import Array, Group, Setup, TokenPair, Update

# Full batches have no noise, so a rate far above that of language models converges; clipping would only slow the first steps.
TRAINING: Mapping[str, float] = {"learning_rate": 0.05, "clip": 1e6}
STEPS = 600


class Diverged(ArithmeticError):
    """A run whose loss stopped being a number; the message says at which step."""


def policy(world: World, ledger: Ledger, *, hidden: int = 0, seed: int = 0, exact: bool = True) -> Metered:
    """The reference as a trainable policy, float64 where ``exact``: a table, or a network of ``hidden`` units."""
    logits = torch.tensor(world.reference, dtype=torch.float64 if exact else torch.float32)
    model = Enumerable.beginning(logits, first=FIRST, hidden=hidden, seed=seed)
    return Metered(model, eos=EOS, pad=PAD, ledger=ledger)


def setup(
    world: World,
    settings: Mapping[str, Any],
    *,
    pairs: Sequence[TokenPair] | None = None,
    steps: int = STEPS,
    batch: int | None = None,
    hidden: int = 0,
    seed: int = 0,
    exact: bool = True,
) -> Setup:
    """What an algorithm may touch here: exact pairs (``population``) unless others are given, in full batches unless ``batch`` says less.

    ``settings`` are the algorithm's over ``TRAINING``. The budget is of ``steps``; prompts are given in turn; ``score`` is the reward.
    An algorithm with a scalar head needs float32, for such a head reads no other: it is not ``exact``.
    """
    rows = population(world) if pairs is None else list(pairs)
    ledger = Ledger(float(steps), "steps")
    start = policy(world, ledger, hidden=hidden, seed=seed, exact=exact)
    reference = start.frozen()
    with torch.no_grad(), ledger.phase("evaluation"):
        logps = reference.logps([Group(pair.prompt, (pair.chosen, pair.rejected)) for pair in rows]).view(-1, 2)
    stream = cycle(world.prompts)
    return Setup(
        policy=start,
        reference=reference,
        pairs=rows,
        heldout=rows,
        reference_logps=logps,
        prompts=lambda count: list(islice(stream, count)),
        score=world.score,
        ledger=ledger,
        settings={**TRAINING, **settings},
        generator=torch.Generator().manual_seed(seed),
        batch_pairs=batch or 2 * len(rows),  # of an unpaired loss, both responses of every pair
        max_response_tokens=1,
        seed=seed,
    )


def converge(algorithm: Any, given: Setup, world: World, *, heard: Callable[[Update], None] = lambda update: None) -> Array:
    """Log pi after the algorithm's last update, (prompts, responses); ``Diverged`` where a loss was no number."""
    for update in _updates(algorithm, given):
        heard(update)
        if not np.isfinite(update.metrics.get("loss", 0.0)):
            raise Diverged(f"the loss is {update.metrics['loss']} at step {update.step}")
    return np.asarray(log_probs(given.policy.model, len(world.reference)).cpu().numpy(), dtype=np.float64)


def _updates(algorithm: Any, given: Setup) -> Iterator[Update]:
    bound = algorithm() if isinstance(algorithm, type) else algorithm
    updates: Iterator[Update] = bound.updates(given)
    return updates
