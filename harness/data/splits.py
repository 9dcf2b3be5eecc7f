"""Splits by construction: where a text belongs is decided by its hash, so that no seed, order or file can mix splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def share_of(text: str) -> float:
    """Returns a number in [0, 1), uniform over texts and the same on every machine: the first 53 bits of the text's SHA-256."""
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11) / 2.0**53


def split_of(text: str, bounds: Sequence[tuple[str, float]]) -> str:
    """Returns the name of the first split whose upper bound exceeds the text's share; the last bound is 1."""
    share = share_of(text)
    return next(name for name, bound in bounds if share < bound)


def epochs(generator: np.random.Generator, size: int, n: int) -> list[int]:
    """Returns n row numbers below ``size``: whole epochs, each in an order of its own, and the beginning of one more."""
    return [int(index) for _ in range(0, n, size) for index in generator.permutation(size)][:n]
