"""Which losses of the shelf have the same gradient as another one, at some value of their knob: a loss is what its gradient does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from harness.plugins import cases, registry
from harness.plugins.registry import Entry
from harness.training.preference import PreferenceLoss
from harness.types import Array, Setting

SEEDS = 3
PLACES = (2, 3, 5)  # of lists that are held against lists; against pairs a list is one
SAME, NEAR = 1e-6, 0.1  # relative distance of gradients
KNOBS = np.geomspace(1e-3, 1e3, 61)


class Alike(NamedTuple):
    """A loss of the shelf, the knob's value at which it is nearest, its factor there, and the relative distance of the gradients.

    ``of_pairs`` says that a list loss was held against it on lists of two.
    """

    name: str
    knob: str
    value: float | None
    factor: float
    distance: float
    of_pairs: bool = False

    def text(self) -> str:
        """One line."""
        where = "" if self.value is None else f" at {self.knob} = {self.value:.4g}"
        times = "" if abs(self.factor - 1) < 10 * SAME else f"{self.factor:.4g} times "
        lists = " on lists of two" if self.of_pairs else ""
        if self.distance < SAME:
            return f"equals {times}{self.name}{where}{lists}, up to a constant"
        return f"is within {math.ceil(1000 * self.distance) / 10:.1f}% of {times}{self.name}{where}{lists}"


def lines(loss: PreferenceLoss, settings: Mapping[str, Setting], entry: Entry) -> Iterator[str]:
    """The losses of the shelf that it equals or is near to, the nearest first."""
    found = sorted(alike(loss, settings, entry), key=lambda each: each.distance)
    close = [each.text() for each in found if each.distance < NEAR]
    if not found:
        yield "none: no other loss of the shelf learns from the same rows"
    else:
        among = f"of {len(found)} on the shelf that learn from the same rows, whatever their knob"
        yield from close or [f"none within {NEAR:.0%} of its gradient, {among}"]


def alike(loss: PreferenceLoss, settings: Mapping[str, Setting], entry: Entry) -> Iterator[Alike]:
    """Every loss of the shelf over the same rows, at the knob's value where its gradient is nearest."""
    for other in registry.describe("algorithms"):
        if other.problem or other.path == entry.path or not other.declaration.loss:
            continue
        bound = registry.load_entry(other).algorithm
        if isinstance(bound, PreferenceLoss) and bound.signature.unpaired == loss.signature.unpaired:
            whole = loss.signature.listed and bound.signature.listed
            places = PLACES if whole else (2,)
            found = _nearest(_gradient(loss, settings, places), places, bound, other)
            yield found._replace(of_pairs=loss.signature.listed and not whole)


def _nearest(mine: Array, places: Sequence[int], loss: PreferenceLoss, entry: Entry) -> Alike:
    knob = loss.knob or entry.declaration.knob or ""
    if not isinstance(loss.hyperparameters.get(knob), float):
        return Alike(loss.name, knob, None, *_apart(mine, _gradient(loss, {}, places)))

    def apart(logarithm: float) -> float:
        return _apart(mine, _gradient(loss, {knob: math.exp(logarithm)}, places))[1]

    grid = np.log(KNOBS)
    middle = float(min(grid, key=apart))
    step = float(grid[1] - grid[0])
    found = minimize_scalar(apart, bounds=(middle - step, middle + step), method="bounded", options={"xatol": 1e-10})
    value = min((middle, float(found.x)), key=apart)
    return Alike(loss.name, knob, _rounded(math.exp(value)), *_apart(mine, _gradient(loss, {knob: math.exp(value)}, places)))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _apart(mine: Array, other: Array) -> tuple[float, float]:
    """The factor on the other gradient that brings it nearest, and the distance that is left, relative to this one's length."""
    own, length = float(np.linalg.norm(mine)), float(other @ other)
    factor = max(0.0, float(mine @ other) / length) if length > 0 else 0.0
    return factor, float(np.linalg.norm(mine - factor * other)) / own if own > 0 else math.inf


def _gradient(loss: PreferenceLoss, settings: Mapping[str, Setting], places: Sequence[int] = (2,)) -> Array:
    """The gradients of a few drawn batches in every policy log-prob, those that it does not name as zeros; lists are of ``places``."""
    parts: list[Array] = []
    pair: Sequence[str] = ("logps",) if loss.signature.unpaired else ("chosen", "rejected")
    for size, seed in product(places, range(SEEDS)):
        case: Any = cases.draw_case(seed, spread=2.0, places=size)
        found = cases.gradients(loss, case, settings)
        parts += [found.get(name, torch.zeros_like(case["chosen"])).numpy() for name in (found if loss.signature.listed else pair)]
    return np.concatenate(parts)
