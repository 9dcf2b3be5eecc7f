"""The random numbers of measurements: they depend on what is measured and for which seed, not on the policy or on the order of things."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from harness.measure.statistics import Interval, prompt_interval
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


def digest(*names: object) -> int:
    """56 bits of a hash of the names."""
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:7], "big")
