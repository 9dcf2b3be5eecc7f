"""Peak memory of one DPO step under a reference mode: ``python -m tests.bench.memory FOLDER MODE [DTYPE] [PAIRS]``.

The models are made by the code that makes those of a run; what is printed is the most that the process held above what it held before
any model was loaded, with the optimiser's moments in place, and the same while the policy is measured against a live reference.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from harness.models import adapters, precision, storage
from harness.models.loading import device, load_model
from harness.models.resting import Resting
from harness.running.facts import forget_peak, peak_memory
from harness.running.stages import Shared
from harness.training.ledger import Ledger
from harness.types import Group

PROMPT, RESPONSE, STEPS = 96, 32, 2


def prepared(folder: Path, model: str, mode: str, dtype: str) -> Shared:
    """What a run of this mode starts from, saved as its SFT stage saves it, without steps of SFT."""
    loaded, tokenizer = load_model(model, dtype=dtype, vocabulary=(), seed=0)
    if mode in ("merged", "frozen-adapter"):
        adapters.add(loaded, adapters.Lora(), 0)
    if mode == "merged":
        loaded = precision.store(adapters.merged(loaded), dtype, device())
    storage.save_model(folder, loaded, tokenizer, Path(model).resolve())
    nothing: Any = None
    return Shared(nothing, nothing, folder, [], [], folder, torch.zeros(0), None, None, 0, mode, adapters.Lora())


def above(start: int, work: Callable[[], object]) -> float:
    """The most MB that the process held during some work above ``start`` bytes."""
    forget_peak()
    work()
    return (peak_memory() - start) / 1e6


def trained(shared: Shared, groups: list[Group]) -> tuple[Any, Any]:
    """A policy after a few steps beside its reference, whose log-probs are read from a cache: nothing asks it."""
    ledger = Ledger(float("inf"))
    reference, policy = shared.frozen(ledger), shared.policy(ledger)
    if isinstance(reference, Resting):
        reference.shape = policy.shape
    policy.optimise(learning_rate=1e-6)
    for _ in range(STEPS):
        for part in policy.micro(groups):
            chosen, rejected = policy.logps(groups[part]).view(-1, 2).unbind(1)
            policy.backward(-torch.nn.functional.logsigmoid(0.1 * (chosen - rejected)).mean())
        policy.step(0.5)
    return policy, reference


def main(model: str, mode: str, dtype: str = "float32", pairs: str = "2") -> None:
    """Print the peaks of training and of measuring, MB."""
    draw = torch.Generator().manual_seed(0)
    ids = [tuple(torch.randint(5, 1000, (n,), generator=draw).tolist()) for n in [PROMPT, RESPONSE, RESPONSE] * int(pairs)]
    groups = [Group(ids[i], (ids[i + 1], ids[i + 2])) for i in range(0, len(ids), 3)]
    held: list[Any] = []
    with tempfile.TemporaryDirectory() as scratch:
        shared = prepared(Path(scratch), model, mode, dtype)
        forget_peak()
        start = peak_memory()
        training = above(start, lambda: held.extend(trained(shared, groups)))
        measuring = above(start, lambda: held[0].divergence(held[1], groups))
    print(json.dumps({"mode": mode, "dtype": dtype, "training_mb": round(training), "measuring_mb": round(measuring)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
