"""The ledger of a run: canonical FLOPs by phase, executed FLOPs and seconds beside them, and the counts that FLOPs do not show.

Canonical FLOPs are the useful FLOPs of a declared execution: a function of token lengths, model shape and algorithm only, never of
kernels, batch size, device, cache or packing (see docs/compute.md). Only the phases in ``CHARGED`` count against the budget.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness.types import Group

CHARGED = ("reward", "rollout", "reference", "update")
IDLE = "idle"


@dataclass(frozen=True)
class Shape:
    """What FLOPs depend on: matmul weights of the blocks, of the output head, layers, and the attention width (heads x head size)."""

    blocks: int
    head: int
    layers: int
    width: int

    def forward(self, tokens: int, contexts: int, outputs: int) -> float:
        """FLOPs of one forward: 2 per weight and token, 4 L d per token and attended position, the head on ``outputs`` positions.

        Kaplan et al. 2020 (arXiv 2001.08361, table 1) for 2N and the attention term; softmax, norms and embeddings are not counted.
        """
        return 2.0 * self.blocks * tokens + 4.0 * self.layers * self.width * contexts + 2.0 * self.head * outputs

    def scalar(self) -> Shape:
        """The same model read through a scalar head instead of its vocabulary."""
        return Shape(self.blocks, self.width, self.layers, self.width)

    def valued(self) -> Shape:
        """The same model read through its vocabulary and a scalar head, both from one forward."""
        return Shape(self.blocks, self.head + self.width, self.layers, self.width)

    def scoring(self, groups: Sequence[Group]) -> float:
        """FLOPs to score every response of every group: the prompt once, full attention as torch counts it, head on responses."""
        return sum(self.group(len(g.prompt), [len(r) for r in g.responses]) for g in groups)

    def group(self, prompt: int, responses: Sequence[int]) -> float:
        """FLOPs to score responses of these lengths after one prompt.

        Full attention over prompt and response, as torch counts it, (p + r)^2 for one response; the prompt's own p^2 only once.
        """
        tokens = prompt + sum(responses)
        contexts = prompt * prompt + sum(2 * prompt * n + n * n for n in responses)
        return self.forward(tokens, contexts, sum(responses))

    def sampling(self, prompt: int, responses: Sequence[int]) -> float:
        """FLOPs to sample responses of these lengths with a KV cache: the prompt once, each token attending to what precedes it."""
        tokens = prompt + sum(responses)
        contexts = prompt * prompt + sum(n * prompt + n * (n + 1) // 2 for n in responses)
        return self.forward(tokens, contexts, sum(responses))


@dataclass
class Ledger:
    """One limit over every charged phase; models charge it, algorithms ask what is left. ``limit`` is in canonical FLOPs."""

    limit: float
    canonical: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    executed: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    wall_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[str] = field(default_factory=Counter)
    current: str = IDLE

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge what happens inside to ``name``; an inner phase takes its seconds out of the outer one."""
        outer, self.current = self.current, name
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            self._time(name, wall, cpu, 1)
            self.current = outer
            if outer != IDLE:
                self._time(outer, wall, cpu, -1)

    def _time(self, name: str, wall: float, cpu: float, sign: int) -> None:
        self.wall_seconds[name] += sign * wall
        self.cpu_seconds[name] += sign * cpu

    def charge(self, canonical: float, executed: float | None = None) -> None:
        """Add FLOPs to the current phase; ``executed`` is what the kernels really did, equal where it is not given."""
        self.canonical[self.current] += canonical
        self.executed[self.current] += canonical if executed is None else executed

    def count(self, **amounts: int) -> None:
        """Add to the second ledger: labels, prompts, sampled tokens, optimiser steps."""
        self.counts.update(amounts)

    @property
    def spent(self) -> float:
        """Canonical FLOPs charged against the limit so far."""
        return sum(self.canonical[name] for name in CHARGED)

    @property
    def remaining(self) -> float:
        """Canonical FLOPs left."""
        return self.limit - self.spent

    @property
    def share(self) -> float:
        """Share of the limit spent, in [0, 1] but for the allowed overshoot."""
        return self.spent / self.limit
