"""The harness as a side of a comparison: updates and samples through the same functions that a run uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from harness.models.loading import meter, prepare
from harness.models.metered import Metered
from harness.models.precision import store
from harness.plugins import registry
from harness.training.ledger import Ledger
from harness.types import Group, Setup, TokenPair, Update
from tests.bench import workloads
from tests.bench.speed import clock
from tests.bench.workloads import Workload

PLENTY = 1e18  # FLOPs: no benchmark comes near, so no batch is shrunk
PRECISIONS = {"fp32": "float32", "amp": "mixed", "bf16": "bfloat16"}  # as an experiment names them


def policy(workload: Workload, precision: str) -> Metered:
    """The workload's model in this precision, metered; ``amp`` keeps float32 weights."""
    model = store(workloads.plain_model(workload, dtype=torch.float32), PRECISIONS[precision], torch.device("cpu"))
    return meter(prepare(model), workloads.tokenizer(workload), Ledger(PLENTY))


def setup(model: Metered, pairs: Sequence[TokenPair], batch: int, **settings: Any) -> Setup:
    """What an algorithm is given; reference log-probs are computed here, as a run reads them from its cache."""
    reference = model.frozen()
    groups = [Group(pair.prompt, (pair.chosen, pair.rejected)) for pair in pairs]
    with torch.no_grad():
        logps = reference.logps(groups).view(-1, 2)
    generator = torch.Generator().manual_seed(0)
    prompts = [pair.prompt for pair in pairs]
    return Setup(model, reference, pairs, (), logps, lambda n: prompts[:n], None, model.ledger, settings, generator, batch, 64)


def updates(workload: Workload, pairs: Sequence[TokenPair], precision: str, algorithm: str = "dpo") -> Iterator[Update]:
    """The updates of a preference loss, metrics and all, for as long as they are asked for."""
    given = setup(policy(workload, precision), pairs, workload.batch, beta=0.1, learning_rate=1e-6)
    found: Iterator[Update] = registry.load("algorithms", algorithm).algorithm.updates(given)
    return found


def sample(model: Metered, prompts: Sequence[tuple[int, ...]], new_tokens: int, *, temperature: float = 1.0) -> list[tuple[int, ...]]:
    """One response to each prompt."""
    generator = torch.Generator().manual_seed(0)
    drawn = model.sample(prompts, samples=1, max_tokens=new_tokens, temperature=temperature, generator=generator)
    return [row[0].ids for row in drawn]


def tokens_per_second(model: Metered, prompts: Sequence[tuple[int, ...]], new_tokens: int) -> float:
    """Sampled tokens, up to and with EOS, per second."""
    begun = clock()
    drawn = sample(model, prompts, new_tokens)
    return sum(map(len, drawn)) / (clock() - begun)
