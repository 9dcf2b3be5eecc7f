"""What a set of trials says: who wins under which selection, whether the order of algorithms hangs on it, and what tuning cost.

Pure functions on values read from records. Selection is by one judge common to all algorithms, on tuning prompts; the other selections
are printed beside it, and nothing here is measured on evaluation prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from harness.measure.statistics import Array
from harness.training.ledger import CHARGED

DEFAULT = 0  # index of the trial at the declared defaults; drawn points count from 1
AIMED = -1  # index of a trial that looked for a KL and takes no part in a selection
SELECTIONS = ("proxy", "defaults", "gold")
SCORE = "tuning_score"  # the column of the common tuning judge
EQUAL = 0.02  # largest relative spread of tuning FLOPs that is still called equal effort


@dataclass(frozen=True)
class Trial:
    """One trial on tuning prompts. ``grid`` labels its grid value, ``outcome`` is gold or, without gold, the win rate against SFT."""

    algorithm: str
    grid: str
    index: int
    setting: Mapping[str, Any]
    status: str
    score: float | None
    gold: float | None
    outcome: float | None
    kl: float | None
    flops: float
    fingerprint: str
    control: bool = False


class Winners(NamedTuple):
    """The trial of one grid value that each selection takes; None where it has none to take."""

    proxy: Trial | None
    defaults: Trial | None
    gold: Trial | None


class Effort(NamedTuple):
    """What tuning one algorithm took: trials, those of them that diverged, canonical FLOPs of all."""

    trials: int
    diverged: int
    flops: float
    control: bool


def trial(record: Mapping[str, Any]) -> Trial:
    """The trial that a record of kind ``trial`` holds; numbers that it lacks are None."""
    about, algorithm = record.get("trial_of") or {}, record.get("algorithm") or {}
    last = (record.get("checkpoints") or [{}])[-1].get("metrics", {})
    values = {name: _finite((last.get(name) or {}).get("value")) for name in (SCORE, "gold", "win_sft", "kl")}
    canonical = (record.get("compute") or {}).get("canonical") or {}
    return Trial(
        algorithm=str(algorithm.get("name")),
        grid=label(about.get("grid") or {}),
        index=int(about.get("index", AIMED)),
        setting=dict(record.get("setting") or {}),
        status=str(record.get("status")),
        score=values[SCORE],
        gold=values["gold"],
        outcome=values["win_sft"] if values["gold"] is None else values["gold"],
        kl=values["kl"],
        flops=float(sum(canonical.get(phase) or 0.0 for phase in CHARGED)),
        fingerprint=str(record.get("fingerprint", "")),
        control=bool(algorithm.get("control") or algorithm.get("oracle")),
    )


def label(setting: Mapping[str, Any]) -> str:
    """A grid value in words: ``beta=0.7``; ``default`` where the algorithm has no grid."""
    return ", ".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in setting.items()) or "default"


def winners(trials: Sequence[Trial]) -> dict[tuple[str, str], Winners]:
    """The winners of every (algorithm, grid value): under the common proxy, at the declared defaults, and under gold.

    Only trials that finished can win; of equal ones the first does, so the default stays where drawing found nothing better.
    """
    groups: dict[tuple[str, str], list[Trial]] = {}
    for each in sorted((each for each in trials if each.index >= DEFAULT), key=lambda each: each.index):
        groups.setdefault((each.algorithm, each.grid), []).append(each)
    found = {}
    for key, group in groups.items():
        finished = [each for each in group if each.status == "finished"]
        default = next((each for each in finished if each.index == DEFAULT), None)
        found[key] = Winners(_best(finished, "score"), default, _best(finished, "gold"))
    return found


def order(chosen: Mapping[tuple[str, str], Winners], selection: str) -> list[Trial]:
    """One trial per algorithm as this selection (``proxy``, ``defaults``, ``gold``) leaves it, the best outcome first.

    Of an algorithm's grid values the one is taken that the selection's own criterion prefers: gold for ``gold``, else the common proxy.
    Controls and oracles are left out. A position is a point estimate of one tuning seed and ranks nothing by itself.
    """
    key = "gold" if selection == "gold" else "score"
    groups: dict[str, list[Trial]] = {}
    for (algorithm, _), each in chosen.items():
        found: Trial | None = getattr(each, selection)
        if found is not None and not found.control:
            groups.setdefault(algorithm, []).append(found)
    taken = [best for group in groups.values() if (best := _best(group, key)) is not None and best.outcome is not None]
    return sorted(taken, key=lambda each: (-(each.outcome or 0.0), each.algorithm))


def efforts(trials: Sequence[Trial]) -> dict[str, Effort]:
    """What tuning took, by algorithm in order of appearance."""
    found: dict[str, Effort] = {}
    for each in trials:
        so_far = found.get(each.algorithm, Effort(0, 0, 0.0, each.control))
        lost = so_far.diverged + (each.status == "diverged")
        found[each.algorithm] = Effort(so_far.trials + 1, lost, so_far.flops + each.flops, each.control)
    return found


def reused(tuning: Iterable[int], reported: Iterable[int]) -> str:
    """One sentence where settings were chosen on seeds that they are reported on; empty where no seed is among both."""
    both = sorted({*tuning} & {*reported})
    if not both:
        return ""
    named = f"seed{'s' if len(both) > 1 else ''} {', '.join(map(str, both))}"
    return (
        f"Settings were chosen on {named}, which the results include: a winner was picked by what this SFT model and these pairs gave, "
        "so its numbers there are too high. Leave tuning_seed out, or name one that is not among the seeds."
    )


def effort_spread(spent: Mapping[str, Effort]) -> float | None:
    """(largest - smallest) / smallest of the tuning FLOPs over the algorithms that are no controls; None below two of them."""
    flops = [each.flops for each in spent.values() if not each.control]
    return (max(flops) - min(flops)) / min(flops) if len(flops) > 1 and min(flops) > 0 else None


def best_of(scores: Array, values: Array | None = None) -> Array:
    """E[value of the trial that scores highest among k drawn without replacement], for k = 1..n, (n,).

    The unbiased estimator sum_i C(i - 1, k - 1) / C(n, k) v_(i) over trials in ascending order of score (Tang et al. 2020, arXiv
    2004.13705); Dodge et al. 2019 (arXiv 1909.03004) draw with replacement, which is biased low. ``values`` defaults to the scores.
    """
    weights = _order_weights(len(scores))
    ranked = np.argsort(scores, kind="stable")
    return weights @ np.asarray(scores if values is None else values, dtype=np.float64)[ranked]


def best_of_bounds(
    scores: Array, values: Array | None = None, *, generator: np.random.Generator, resamples: int = 2000, level: float = 0.95
) -> tuple[Array, Array]:
    """Percentile bootstrap bounds of ``best_of`` over trials, two of (n,); too narrow near k = n, where one trial decides."""
    scores = np.asarray(scores, dtype=np.float64)
    values = scores if values is None else np.asarray(values, dtype=np.float64)
    drawn = generator.integers(0, len(scores), size=(resamples, len(scores)))
    ranked = np.take_along_axis(drawn, np.argsort(scores[drawn], axis=1, kind="stable"), axis=1)
    curves = values[ranked] @ _order_weights(len(scores)).T
    lower, upper = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return lower, upper


def _order_weights(n: int) -> Array:
    """The probability that the i-th smallest of n is the largest of k drawn, (k, i): C(i - 1, k - 1) / C(n, k)."""
    from scipy.special import comb

    ranks, sizes = np.arange(1, n + 1), np.arange(1, n + 1)[:, None]
    weights: Array = comb(ranks - 1, sizes - 1) / comb(n, sizes)
    return weights


def _best(trials: Sequence[Trial], key: str) -> Trial | None:
    scored = [each for each in trials if getattr(each, key) is not None]
    return max(scored, key=lambda each: float(getattr(each, key))) if scored else None


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None
