"""The random numbers of measurements: they depend on what is measured and for which seed, not on the policy or on the order of things."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch

from harness.measure.statistics import Interval, prompt_interval, prompt_intervals
from harness.types import Array


def generator_for(seed: int, *names: object) -> torch.Generator:
    """A generator of its own for each use, the same for all policies of a seed at every mark: they share random numbers, so that a
    change against the reference is paired by prompt and by the sampler's seed.
    """
    return torch.Generator().manual_seed(digest(seed, *names))


def resampler(*names: object) -> np.random.Generator:
    """The generator that resamples for one interval."""
    return np.random.default_rng(digest(*names))


def interval(name: str, values: Array, mark: float) -> Interval:
    """The mean over prompts with its prompt interval, from a generator that depends on the metric and the mark alone."""
    return prompt_interval(values, generator=resampler(name, mark))


def intervals(columns: Mapping[str, Array]) -> dict[str, Interval]:
    """Of each column the mean over prompts with its prompt interval: all columns of a length meet the same resampled prompts."""
    found: dict[str, Interval] = {}
    for n in {len(values): None for values in columns.values()}:
        alike = {name: values for name, values in columns.items() if len(values) == n}
        made = prompt_intervals(list(alike.values()), generator=resampler("prompts"))
        found |= dict(zip(alike, made, strict=True))
    return {name: found[name] for name in columns}


def digest(*names: object) -> int:
    """56 bits of a hash of the names."""
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:7], "big")
