"""Splits by construction: where a text belongs is decided by its hash, so that no seed, order or file can mix splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np


def share_of(text: str) -> float:
    """Returns a number in [0, 1), uniform over texts and the same on every machine: the first 53 bits of the text's SHA-256."""
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11) / 2.0**53


def split_of(text: str, bounds: Sequence[tuple[str, float]]) -> str:
    """Returns the name of the first split whose upper bound exceeds the text's share; the last bound is 1."""
    share = share_of(text)
    return next(name for name, bound in bounds if share < bound)


def epochs(size: int) -> Callable[[np.random.Generator, int], list[int]]:
    """Returns a function that draws row numbers below ``size`` in epochs, each in an order of its own, over all calls with one generator.

    What is left of an epoch waits for the generator's next call, so that batch after batch still shows every row once before any twice.
    """
    waiting: dict[int, tuple[np.random.Generator, list[int]]] = {}  # holding the generator keeps its id from being used again

    def draw(generator: np.random.Generator, n: int) -> list[int]:
        _, queue = waiting.setdefault(id(generator), (generator, []))
        while len(queue) < n:
            queue.extend(int(index) for index in generator.permutation(size))
        rows, queue[:n] = queue[:n], []
        return rows

    return draw
