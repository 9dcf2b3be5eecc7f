"""The ledger of a run: canonical FLOPs by phase, executed FLOPs and seconds beside them, and the counts that FLOPs do not show.

Canonical FLOPs are the useful FLOPs of a declared execution: a function of token lengths, model shape and algorithm only, never of
kernels, batch size, device, cache or packing (see docs/compute.md). Only the phases in ``CHARGED`` count against the budget.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness.errors import HarnessError
from harness.types import Group

CHARGED = ("reward", "rollout", "reference", "update")
IDLE = "idle"
# What budgets may be matched on, and how its amounts are called.
UNITS = {"flops": "canonical FLOPs", "device-seconds": "device-seconds", "pairs": "pairs", "steps": "optimiser steps"}


@dataclass(frozen=True)
class Shape:
    """What FLOPs depend on: matmul weights of the blocks, of the output head, layers, and the attention width (heads x head size).

    ``frozen`` of the blocks' weights and ``frozen_head`` of the head's are not trained, as under an adapter: gradients pass through them
    and are not computed of them (docs/models.md has the derivation).
    """

    blocks: int
    head: int
    layers: int
    width: int
    frozen: int = 0
    frozen_head: int = 0

    def forward(self, tokens: int, contexts: int, outputs: int) -> float:
        """FLOPs of one forward: 2 per weight and token, 4 L d per token and attended position, the head on ``outputs`` positions.

        Kaplan et al. 2020 (arXiv 2001.08361, table 1) for 2N and the attention term; softmax, norms and embeddings are not counted.
        """
        return 2.0 * self.blocks * tokens + 4.0 * self.layers * self.width * contexts + 2.0 * self.head * outputs

    def scalar(self) -> Shape:
        """The same model read through a scalar head instead of its vocabulary."""
        return Shape(self.blocks, self.width, self.layers, self.width, self.frozen)

    def valued(self) -> Shape:
        """The same model read through its vocabulary and a scalar head, both from one forward."""
        return Shape(self.blocks, self.head + self.width, self.layers, self.width, self.frozen, self.frozen_head)

    def bare(self) -> Shape:
        """The same model without its adapter: what is frozen, all of it."""
        return Shape(self.frozen, self.head, self.layers, self.width)

    def scoring(self, groups: Sequence[Group]) -> float:
        """FLOPs to score every response of every group: the prompt once, full attention as torch counts it, head on responses."""
        return sum(self.group(len(g.prompt), [len(r) for r in g.responses]) for g in groups)

    def unlearnt(self, tokens: int, outputs: int) -> float:
        """FLOPs of a backward that frozen weights spare it: 2 per frozen weight and token, those of the head on ``outputs`` positions."""
        return 2.0 * self.frozen * tokens + 2.0 * self.frozen_head * outputs

    def learning(self, groups: Sequence[Group]) -> float:
        """FLOPs to learn from every response of every group: a forward, and a backward of twice as much less what is ``unlearnt``."""
        return 3 * self.scoring(groups) - sum(self.unlearnt(*sizes(group)) for group in groups)

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


def sizes(group: Group) -> tuple[int, int]:
    """Tokens of a group, its prompt once, and those of its responses."""
    outputs = sum(map(len, group.responses))
    return len(group.prompt) + outputs, outputs


def _cpu_seconds() -> float:
    """CPU seconds of this process and of those that it has forked and waited for."""
    used = os.times()
    return time.process_time() + used.children_user + used.children_system


@dataclass
class Ledger:
    """One limit over every charged phase; models charge it, algorithms ask what is left.

    ``limit``, ``spent``, ``remaining`` and ``price`` are in the unit of ``match``: canonical FLOPs, seconds of the one device that the
    run holds, pairs or optimiser steps. Algorithms need not know which: they say what work costs in FLOPs, pairs and steps, and count
    the pairs and steps that they take. ``clock`` tells the seconds; one that waits for an accelerator makes them its own. ``met`` holds
    what ``distinct`` has counted, by name.
    """

    limit: float
    match: str = "flops"
    clock: Callable[[], float] = time.perf_counter
    canonical: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    executed: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    wall_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: defaultdict[str, float] = field(default_factory=lambda: defaultdict(int))
    current: str = IDLE
    _since: tuple[float, float] = (0.0, 0.0)
    met: defaultdict[str, set[Hashable]] = field(default_factory=lambda: defaultdict(set))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge what happens inside to ``name``; while it lasts the outer phase's seconds stand still."""
        self._lap()
        outer, self.current = self.current, name
        try:
            yield
        finally:
            self._lap()
            self.current = outer

    def _lap(self) -> None:
        """Give the seconds since the last call to the phase that is open."""
        now = self.clock(), _cpu_seconds()
        if self.current != IDLE:
            self.wall_seconds[self.current] += now[0] - self._since[0]
            self.cpu_seconds[self.current] += now[1] - self._since[1]
        self._since = now

    def charge(self, canonical: float, executed: float | None = None) -> None:
        """Add FLOPs to the current phase; ``executed`` is what the kernels really did, equal where it is not given."""
        self.canonical[self.current] += canonical
        self.executed[self.current] += canonical if executed is None else executed

    def count(self, **amounts: float) -> None:
        """Add to the second page: ``steps`` and ``pairs`` (what budgets in these units go by), labels, sampled tokens, epochs."""
        for name, amount in amounts.items():
            self.counts[name] += amount

    def distinct(self, **things: Iterable[Hashable]) -> int:
        """Count what this run had not met before, under ``unique_`` and its name; how many there were."""
        fresh = {name: set(found) - self.met[name] for name, found in things.items()}
        for name, new in fresh.items():
            self.met[name] |= new
            self.counts[f"unique_{name}"] += len(new)
        return sum(map(len, fresh.values()))

    def total(self, amounts: Mapping[str, float]) -> float:
        """The sum of something by phase over the charged phases."""
        return sum(amounts.get(name, 0.0) for name in CHARGED)

    @property
    def spent(self) -> float:
        """What was charged against the limit so far, in the matched unit."""
        if self.match == "device-seconds":
            self._lap()
            return self.total(self.wall_seconds)
        return self.total(self.canonical) if self.match == "flops" else float(self.counts.get(self.match, 0))

    @property
    def remaining(self) -> float:
        """What is left, in the matched unit."""
        return self.limit - self.spent

    @property
    def share(self) -> float:
        """Share of the limit spent, in [0, 1] but for the allowed overshoot."""
        return self.spent / self.limit

    def price(self, flops: float = 0.0, *, pairs: float = 0.0, steps: float = 0.0) -> float:
        """What work costs in the matched unit; seconds are a guess at the mean speed of the charged phases so far, 0 before any."""
        if self.match == "device-seconds":
            done = self.total(self.canonical)
            return flops * self.spent / done if done else 0.0
        return {"flops": flops, "pairs": pairs, "steps": steps}[self.match]

    def affords(self, flops: float = 0.0, *, pairs: float = 0.0, steps: float = 0.0) -> bool:
        """Whether what is left pays for this work, but for rounding."""
        return self.price(flops, pairs=pairs, steps=steps) <= self.remaining + 1e-12 * self.limit

    def fits(self, flops: float = 0.0, *, pairs: float = 0.0, steps: float = 0.0) -> float:
        """How many times this work fits into what is left; infinite where it costs nothing in the matched unit."""
        price = self.price(flops, pairs=pairs, steps=steps)
        return max(0.0, self.remaining) / price if price > 0 else math.inf

    def too_small(self, whose: str, limit: float | None = None) -> HarnessError:
        """What is raised where not one step fits into ``limit``, by default into what is left: no result, however well it is recorded."""
        amount = self.remaining if limit is None else limit
        return HarnessError(f"{whose}: a budget of {amount:.3g} {UNITS[self.match]} pays for no step.")
