"""How far labels follow anything that can be learnt: a Bradley-Terry head fitted on some of the pairs and asked about the others.

The head is linear in features of the two responses: P(first preferred) = sigmoid(w . (x_first - x_second)), as Bradley and Terry (1952)
have it; every pair is judged by a head that saw neither it nor its prompt (cross-fitting, Chernozhukov et al. 2018, arXiv 1608.00060). Its
accuracy is a lower bound of how well the labels can be predicted, and of how often such annotators agree with the better response.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from harness.data import splits
from harness.measure.statistics import Interval, prompt_interval
from harness.types import Array

FOLDS, INNER = 5, 3
PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # of |w|^2 / 2 against a sum of log losses over standardised differences
LEAST = 50  # pairs below which no head is fitted


def right(differences: Array, prompts: Sequence[str]) -> Array:
    """Per pair whether a head that did not see its prompt sides with the label, (pairs,): 1, 0, or one half for a tie.

    ``differences`` are features of the chosen response minus those of the rejected one, (pairs, features).
    """
    fold = folds(prompts, FOLDS, "outer")
    margins = np.zeros(len(prompts))
    for held in range(FOLDS):
        inside = fold != held
        if inside.any() and not inside.all():
            kept = [prompt for prompt, each in zip(prompts, inside, strict=True) if each]
            margins[~inside] = differences[~inside] @ _head(differences[inside], kept)
    sided: Array = np.where(margins > 0, 1.0, np.where(margins < 0, 0.0, 0.5))
    return sided


def agreement(sided: Array, prompts: Sequence[str]) -> Interval:
    """The mean of ``right`` over prompts with its interval, pairs of one prompt kept together."""
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    clusters = np.array([places[prompt] for prompt in prompts])
    return prompt_interval(sided, clusters=clusters, generator=np.random.default_rng(0))


def folds(prompts: Sequence[str], count: int, salt: str) -> np.ndarray:
    """The fold of each pair, by the hash of its prompt, so that pairs of one prompt stay together whatever the order of rows is."""
    return np.array([int(splits.share_of(f"{salt}\n{prompt}") * count) for prompt in prompts])


def _head(differences: Array, prompts: Sequence[str]) -> Array:
    """The head's weights, its penalty the one under which heads of inner folds predict best; in the units of the features."""
    scale = differences.std(0) + 1e-8
    scaled = differences / scale
    inner = folds(prompts, INNER, "inner")

    def loss(penalty: float) -> float:
        parts = [(scaled[inner != k], scaled[inner == k]) for k in range(INNER)]
        return sum(float(_log_losses(held @ fitted(seen, penalty)).sum()) for seen, held in parts if len(seen) and len(held))

    weights: Array = fitted(scaled, min(PENALTIES, key=loss)) / scale
    return weights


def fitted(differences: Array, penalty: float) -> Array:
    """The w that minimises the sum of -log sigmoid(w . x) over the rows of ``differences`` plus ``penalty`` |w|^2 / 2."""

    def objective(weights: Array) -> tuple[float, Array]:
        margins = differences @ weights
        gradient = penalty * weights - differences.T @ expit(-margins)
        return float(_log_losses(margins).sum() + penalty * (weights @ weights) / 2), gradient

    return np.asarray(minimize(objective, np.zeros(differences.shape[1]), jac=True, method="L-BFGS-B").x)


def _log_losses(margins: Array) -> Array:
    return np.asarray(np.logaddexp(0, -margins))
