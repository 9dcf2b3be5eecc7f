"""What more tuning buys: the expected score and gold of the trial that the tuning judge picks out of k, per algorithm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.measure.tuning import Trial, best_of, best_of_bounds
from harness.report import layout
from harness.report.drawing import Drawing
from harness.report.palette import Look
from harness.report.points import resampler

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {"score": "Tuning judge's score of its pick", "gold": "Gold reward of its pick"}
FEWEST = 2  # trials below which there is no curve
DODGE = 0.16  # of a trial, between two algorithms' intervals


def draw(trials: Sequence[Trial], looks: Mapping[str, Look]) -> Drawing | None:
    """The figure, or None where no algorithm has two trials with a score."""
    curves = {name: group for name, group in scored(trials).items() if len(group) >= FEWEST}
    if not curves:
        return None
    keys = [key for key in PANELS if any(_column(group, key) is not None for group in curves.values())]
    figure, panels = layout.panels(len(keys), 1.6)
    rows: list[dict[str, Any]] = []
    for axes, key in zip(panels, keys, strict=True):
        for position, (name, group) in enumerate(curves.items()):
            rows += _curve(axes, key, name, group, looks[name], position)
        _dress(axes, key, max(len(group) for group in curves.values()))
    layout.legend_below(figure, *panels[0].get_legend_handles_labels())
    return Drawing("tuning", figure, rows, "What more trials buy", _caption(), _alternative(rows))


def scored(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """The trials of a search by algorithm, of which those without a score (diverged ones) stand at the lowest score of the others."""
    groups: dict[str, list[Trial]] = {}
    for each in trials:
        if each.index >= 0:
            groups.setdefault(each.algorithm, []).append(each)
    return {name: group for name, group in groups.items() if any(each.score is not None for each in group)}


def _column(group: Sequence[Trial], key: str) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """One number per trial, the lowest for one that has none; None where no trial has it."""
    known = [value for each in group if (value := getattr(each, key)) is not None]
    if not known:
        return None
    return np.array([min(known) if getattr(each, key) is None else getattr(each, key) for each in group], dtype=np.float64)


def _curve(axes: Axes, key: str, name: str, group: Sequence[Trial], look: Look, position: int) -> list[dict[str, Any]]:
    scores, values = _column(group, "score"), _column(group, key)
    if scores is None or values is None:
        return []
    curve = best_of(scores, values)
    lower, upper = best_of_bounds(scores, values, generator=resampler())
    k = np.arange(1, len(curve) + 1)
    at = np.array(sorted({1, len(curve), *(2**n for n in range(1, 12) if 2**n < len(curve))})) - 1
    beside = k + DODGE * position
    axes.plot(beside, curve, color=look.colour, marker=look.marker, markersize=4, markevery=at, linestyle=look.line, label=name)
    axes.vlines(beside[at], lower[at], upper[at], color=look.colour, linewidth=0.9)
    base, bars = {"panel": key, "algorithm": name, "trials": len(curve)}, set((at + 1).tolist())
    columns = zip(k.tolist(), curve.tolist(), lower.tolist(), upper.tolist(), strict=True)
    return [base | {"k": n, "value": value, "lower": low, "upper": high, "bar": n in bars} for n, value, low, high in columns]


def _dress(axes: Axes, key: str, most: int) -> None:
    axes.set_title(PANELS[key], fontsize=8)
    axes.set_xlabel("k, trials drawn from those that were run")
    axes.set_ylabel("nats" if key == "score" else "reward")
    step = max(1, most // 8)
    axes.set_xticks(range(1, most + 1, step))


def _caption() -> str:
    return (
        "Expected score, and expected gold, of the trial that the tuning judge prefers among k of an algorithm's trials, all grid values "
        "together, on tuning prompts of one seed: the unbiased estimator of Tang et al. 2020 (arXiv 2004.13705) for the curves of Dodge et "
        "al. 2019 (arXiv 1909.03004). Bars: 95 % bootstrap over trials, too narrow near the right end, where one trial decides. A trial "
        "that diverged counts as the worst of the others. A curve that still rises says that more tuning would still change the comparison."
    )


def _alternative(rows: Sequence[Mapping[str, Any]]) -> str:
    ends = {(row["algorithm"], row["panel"]): row for row in rows}
    said = [f"{name}, {panel}: {row['value']:.2f} with all {row['k']} trials" for (name, panel), row in ends.items()]
    return "Curves of the expected best of k trials. " + "; ".join(said) + "."
