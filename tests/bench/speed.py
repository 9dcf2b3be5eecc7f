"""How speed is measured: sides of a comparison take turns, cycle by cycle, and every number is a median with its interval and n."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import torch
from scipy.stats import quantile_test

from harness.training.ledger import Shape
from harness.types import TokenPair

Cycle = Callable[[], float]
CEILING_SIZE = 1536  # rows and columns of the matrices whose product is the machine's ceiling
# Wall seconds, or with "cpu" those that this process computed: what is left to compare by where other work shares the cores.
CLOCK = os.environ.get("HARNESS_BENCH_CLOCK", "wall")
clock = {"wall": time.perf_counter, "cpu": time.process_time}[CLOCK]
LEAST = 6  # with fewer values no interval of a median reaches 95 %


class Value(NamedTuple):
    """A median with its interval and the number of values; below six values the interval is their range."""

    median: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}] (n {self.n})"


def value(values: Sequence[float]) -> Value:
    """The median and its exact 95 % interval from order statistics (scipy.stats.quantile_test), the range where n is below six."""
    low, high = min(values), max(values)
    if len(values) >= LEAST:
        low, high = quantile_test(values, q=median(values), p=0.5).confidence_interval(0.95)
    return Value(median(values), float(low), float(high), len(values))


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> Value:
    """Seconds of one side over seconds of another, cycle by cycle of the same run: above 1, ours is faster."""
    return value([a / b for a, b in zip(theirs, ours, strict=True)])


def interleaved(sides: Mapping[str, Cycle], cycles: int, warm: int = 1) -> dict[str, list[float]]:
    """What each side's cycle returns, ``cycles`` values a side; sides take turns, beginning with another one every time.

    The first ``warm`` cycles of each are left out: they pay for optimiser states, thread pools and the allocator.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for turn in range(warm + cycles):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            seconds = sides[name]()
            if turn >= warm:
                found[name].append(seconds)
    return found


def timed(steps: Iterator[object], count: int, precision: str | None = None) -> Cycle:
    """A cycle that draws ``count`` steps and returns its seconds; ``precision`` is the matmul switch that this side runs under."""

    def cycle() -> float:
        with matmul(precision):
            begun = clock()
            for _ in range(count):
                next(steps)
            return clock() - begun

    return cycle


@contextmanager
def matmul(precision: str | None) -> Iterator[None]:
    """float32 products by another kernel meanwhile: ``bf16`` hands them to oneDNN, ``ieee`` to the BLAS; None leaves things alone."""
    if precision is None:
        yield
        return
    switch = torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    switch.fp32_precision = precision
    try:
        yield
    finally:
        switch.fp32_precision = before


def ceiling(dtype: torch.dtype, precision: str | None = None) -> Cycle:
    """A cycle that returns FLOPs per second of a large square product, one warm one before."""
    left, right = (torch.randn(CEILING_SIZE, CEILING_SIZE).to(dtype) for _ in range(2))

    def cycle() -> float:
        with matmul(precision):
            begun = clock()
            left @ right
            return 2 * CEILING_SIZE**3 / (clock() - begun)

    return cycle


def useful_flops(shape: Shape, pairs: Sequence[TokenPair]) -> float:
    """FLOPs that a preference step on these pairs cannot do without: one forward and backward.

    Prompts once for both responses, the head on response positions only, causal attention; no reference and nothing computed again.
    """
    return 3 * sum(_forward(shape, len(p.prompt), (len(p.chosen), len(p.rejected))) for p in pairs)


def _forward(shape: Shape, prompt: int, responses: Sequence[int]) -> float:
    contexts = prompt * (prompt + 1) // 2 + sum(n * prompt + n * (n + 1) // 2 for n in responses)
    return shape.forward(prompt + sum(responses), contexts, sum(responses))
