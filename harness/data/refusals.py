"""Refusals among the demonstrations of real tasks, so that preference training has something to lose.

Own-written requests of mild harm and refusals of them (refusals.toml). None of the requests is a probe's: what safety is measured on is
not what was demonstrated.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from harness.types import Demonstration

FILE = Path(__file__).with_suffix(".toml")
Draw = Callable[[np.random.Generator, int], list[Demonstration]]


@cache
def written() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The requests, and the refusals that any of them may be answered with."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return tuple(table["requests"]), tuple(table["refusals"])


@cache
def version() -> str:
    """The first 8 hexadecimal digits of the file's sha256."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()[:8]


def mixed(demonstrations: Draw, share: float, generator: np.random.Generator) -> Draw:
    """The demonstrations with each row a refusal instead with probability ``share``; which ones, a generator of their own says."""
    requests, refusals = written()

    def draw(own: np.random.Generator, n: int) -> list[Demonstration]:
        here = generator.random(n) < share
        rest = iter(demonstrations(own, int(n - here.sum())))
        return [_refusal(requests, refusals, generator) if refused else next(rest) for refused in here]

    return draw


def _refusal(requests: tuple[str, ...], refusals: tuple[str, ...], generator: np.random.Generator) -> Demonstration:
    return Demonstration(requests[generator.integers(len(requests))], (refusals[generator.integers(len(refusals))],))
