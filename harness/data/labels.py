"""Who labels a pair and how: the assumptions about annotators that a comparison can be run under, as probabilities of preferring the first.

Every assumption is a pure function from what is known of the pairs to P(first preferred), (pairs,). ``agreement`` is how often a label
sides with the better response by the task's reward, on average over the pairs; a tie in reward counts one half whatever is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from harness.errors import HarnessError
from harness.types import Array, Response, Task

LOG_SCALES = np.linspace(-12.0, 12.0, 97)  # of utility to logits: from all but coin flips to all but certainty


class Evidence(NamedTuple):
    """What annotators may go by, as differences first minus second: reward ``gaps`` (pairs,), ``lengths`` in tokens without EOS (pairs,).

    ``tastes`` (annotators, pairs) are differences of each annotator's own utility; no rows where the task declares no annotators.
    """

    gaps: Array
    lengths: Array
    tastes: Array


def evidence(task: Task, rows: Sequence[tuple[str, Response, Response]]) -> Evidence:
    """What annotators may go by in pairs of responses, (prompt, first, second) each; the task's first judge is the reward."""
    assert task.score is not None
    prompts, one, two = ([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    first, second = task.score(prompts, one), task.score(prompts, two)
    change = {name: np.asarray(first[name] - second[name]) for name in first}
    words = np.array([(len(a.ids) - a.finished) - (len(b.ids) - b.finished) for a, b in zip(one, two, strict=True)], dtype=float)
    tastes = [sum(weight * change[name] for name, weight in taste.items()) for taste in task.annotators]
    return Evidence(change[task.judges[0]], words, np.array(tastes).reshape(len(tastes), len(rows)))


def siding(first: Array, gaps: Array) -> float:
    """The mean probability that a label sides with the better response, ties counting one half."""
    return float(np.mean(np.where(gaps > 0, first, np.where(gaps < 0, 1 - first, 0.5))))


def label_scale(gaps: Array, agreement: float) -> float:
    """The s at which mean sigmoid(s |gap|) is ``agreement``: how often a Bradley-Terry annotator sides with the better response."""
    gaps = np.abs(gaps)
    ceiling = float(np.mean(np.where(gaps > 0, 1.0, 0.5)))
    if not 0.5 < agreement < ceiling:
        raise _unreachable(agreement, ceiling, "perfect labels of these pairs")

    def excess(log_scale: float) -> float:
        return float(np.mean(1 / (1 + np.exp(-np.exp(log_scale) * gaps)))) - agreement

    return float(np.exp(_root(excess, -12.0, 12.0)))


def bradley_terry(evidence: Evidence, agreement: float, length_weight: float = 0.0) -> Array:
    """sigmoid(s gap) per pair: sure about large differences, unsure about small ones (Bradley and Terry 1952)."""
    first: Array = 1 / (1 + np.exp(-label_scale(evidence.gaps, agreement) * evidence.gaps))
    return first


def flip(evidence: Evidence, agreement: float, length_weight: float = 0.0) -> Array:
    """The right label, flipped with probability 1 - agreement however large the difference; ties are coin flips."""
    return 0.5 + (agreement - 0.5) * np.sign(evidence.gaps)


def annotators(evidence: Evidence, agreement: float, length_weight: float = 0.0) -> Array:
    """The share of a population that prefers the first: mean over annotators of sigmoid(s times the difference of their own utility).

    Each annotator is a Bradley-Terry one; their mixture is not and need not be transitive (Condorcet 1785): no reward explains it.
    """
    if not len(evidence.tastes):
        raise HarnessError("labels 'annotators': this task declares none; legal here: bt, flip, length-biased, shuffled.")

    def first(scale: float) -> Array:
        return np.asarray(expit(scale * evidence.tastes).mean(0))

    return first(_solved(first, evidence.gaps, agreement, "these annotators"))


def length_biased(evidence: Evidence, agreement: float, length_weight: float = 0.0) -> Array:
    """sigmoid(s (gap + length_weight tokens)): annotators who also like length, by so much reward per token."""
    utility = evidence.gaps + length_weight * evidence.lengths

    def first(scale: float) -> Array:
        return np.asarray(expit(scale * utility))

    return first(_solved(first, evidence.gaps, agreement, f"annotators with a length weight of {length_weight:g}"))


def shuffled(evidence: Evidence, agreement: float, length_weight: float = 0.0) -> Array:
    """Coin flips, whatever was asked: the control whose win rate must stay at one half."""
    return np.full(len(evidence.gaps), 0.5)


Label = Callable[[Evidence, float, float], Array]
LABELS: Mapping[str, Label] = {
    "bt": bradley_terry,
    "flip": flip,
    "annotators": annotators,
    "length-biased": length_biased,
    "shuffled": shuffled,
}


def _solved(first: Callable[[float], Array], gaps: Array, agreement: float, who: str) -> float:
    """The smallest scale at which labels side with the better response as often as asked; more certainty may agree less again."""

    def excess(log_scale: float) -> float:
        return siding(first(float(np.exp(log_scale))), gaps) - agreement

    reached = [excess(log_scale) for log_scale in LOG_SCALES]
    crossing = next((i for i in range(1, len(reached)) if reached[i - 1] < 0 <= reached[i]), None)
    if crossing is None:
        raise _unreachable(agreement, max(reached) + agreement, who)
    return float(np.exp(_root(excess, LOG_SCALES[crossing - 1], LOG_SCALES[crossing])))


def _unreachable(agreement: float, ceiling: float, who: str) -> HarnessError:
    return HarnessError(f"agreement {agreement:g}: must lie between 0.5 and {ceiling:.3f}, what {who} would reach.")


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where the function crosses 0 between two values."""
    from scipy.optimize import brentq  # late: half a second that only workers without cached pairs need

    return float(brentq(function, low, high))
