"""What outcomes must be before a statistic is made of them: finite, a share where a share is meant, and no row twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.statistics.resampling import Array


def shares(values: ArrayLike) -> Array:
    """The values as an array of any shape.

    Raises:
        ValueError: one is NaN or outside [0, 1], named with its place.
    """
    array = np.asarray(values, dtype=np.float64)
    wrong = np.argwhere(~((array >= 0) & (array <= 1)))
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise ValueError(f"outcomes must lie in [0, 1]; {len(wrong)} of {array.size} do not, the first is {array[place]:g} at {place}")
    return array


def crossed(seeds: Sequence[int], prompts: Sequence[int], values: ArrayLike) -> Array:
    """One row per seed and one column per prompt, (seeds, prompts), both ascending, of the outcomes (rows,) of a long table.

    Raises:
        ValueError: a seed has a prompt twice, or lacks one that another seed has.
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(seeds) == len(prompts) == len(array):
        raise ValueError(f"one seed and one prompt per value is wanted; got {len(seeds)}, {len(prompts)} and {len(array)}")
    rows, columns = (np.unique(np.asarray(labels), return_inverse=True) for labels in (seeds, prompts))
    counts = np.zeros((len(rows[0]), len(columns[0])), dtype=np.int64)
    np.add.at(counts, (rows[1], columns[1]), 1)
    for wrong, words in ((counts > 1, "has prompt {} more than once"), (counts == 0, "lacks prompt {}")):
        if wrong.any():
            seed, prompt = np.argwhere(wrong)[0]
            raise ValueError(f"seed {rows[0][seed]} {words.format(columns[0][prompt])}; {int(wrong.sum())} such in all")
    table = np.empty(counts.shape)
    table[rows[1], columns[1]] = array
    return table
