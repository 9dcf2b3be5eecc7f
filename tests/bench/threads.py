"""An SFT step of the embedded model by one thread, by two of torch's own, and in two shards: ``python -m tests.bench.threads [cycles]``.

The three take turns in one process; wall and CPU milliseconds of a step, medians over cycles. Nothing is recorded.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch

from harness.data.tokenise import Tokens
from harness.models import threads
from harness.models.loading import load_model, meter
from harness.models.metered import Metered
from harness.plugins import registry
from harness.training.ledger import Ledger
from harness.types import Group

STEPS = 4  # of a turn, after one that warms up


@contextmanager
def torchs(number: int) -> Iterator[None]:
    """Torch's own threads until the block ends, and one afterwards."""
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(1)


SIDES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "one thread": lambda: threads.using(1),
    "two of torch's threads": lambda: torchs(2),
    "two shards": lambda: threads.using(2),
}


def setting() -> tuple[Metered, list[list[Group]]]:
    """The embedded model as SFT finds it, and batches of 16 demonstrations."""
    task = registry.load("tasks", "tldr").task(None)
    model, tokenizer = load_model("tiny-128", dtype="float32", vocabulary=task.vocabulary, seed=0)
    metered, tokens = meter(model, tokenizer, Ledger(float("inf"))), Tokens(tokenizer, task.max_prompt_tokens, task.max_response_tokens)
    metered.optimise(learning_rate=1e-5, betas=(0.9, 0.98), weight_decay=0.01)
    generator = np.random.default_rng(0)
    return metered, [tokens.demonstrations(task.demonstrations(generator, 16)) for _ in range(STEPS + 1)]


def step(model: Metered, groups: list[Group]) -> None:
    """One optimiser step."""
    model.in_parts(groups, lambda each, part: each.backward(-each.token_logps(groups[part]).values.sum() / 1000))
    model.step(0.5)


def turn(model: Metered, batches: list[list[Group]]) -> tuple[float, float]:
    """Wall and CPU milliseconds of a step."""
    step(model, batches[0])
    wall, cpu = time.perf_counter(), time.process_time()
    for groups in batches[1:]:
        step(model, groups)
    return (time.perf_counter() - wall) / STEPS * 1e3, (time.process_time() - cpu) / STEPS * 1e3


def main(cycles: int) -> None:
    """Print a line for each side, and the load."""
    torch.set_num_threads(1)
    model, batches = setting()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SIDES}
    order = np.random.default_rng(1)
    for _ in range(cycles):
        for name in order.permutation(list(SIDES)):
            with SIDES[name]():
                found[name].append(turn(model, batches))
    for name, times in found.items():
        wall, cpu = np.median(times, axis=0)
        print(f"{name}: {wall:.0f} ms, {cpu:.0f} ms of CPU (n {cycles})")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 25)
