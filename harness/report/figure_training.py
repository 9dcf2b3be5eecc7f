"""Figures 4 and 5: log-probs of chosen and rejected responses over a run, and a reward model's score against gold over a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.measure.statistics import Array
from harness.report import drawing, layout
from harness.report.drawing import Drawing
from harness.report.numbers import shown as shown_setting
from harness.report.palette import INK, LINES, Look
from harness.report.points import Point, by_algorithm
from harness.store.records import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAIR: Any = (("chosen", "-"), ("rejected", (0, (3, 1.5))))  # name and line style
KEYS, KEY = 5, 0.14  # entries on a line of a panel's legend, and its height in inches
Z = 1.959964  # the 97.5 % point of the normal distribution
BINS = 50  # points per curve: steps are averaged within equal shares of the budget
SHADES = (1.0, 0.7, 0.45)
PROXY = {
    "proxy": "proxy: the reward trained on",
    "gold": "gold: the reward meant",
    "kl": "KL to the SFT reference, nats",
    "k1": "log-ratio k1 of the rollouts, nats",
}

Rows = Mapping[Point, Sequence[Row]]


def training_rows(points: Sequence[Point]) -> dict[Point, list[Row]]:
    """The metrics rows of the first seed of each point."""
    return {point: point.cells[0].metrics() for point in points}


def draw_logps(rows: Rows, looks: Mapping[str, Look]) -> Drawing | None:
    """Change of the mean log-prob of chosen and rejected responses against share of the budget, one panel per algorithm."""
    curves = {point: {key: binned(found, key) for key in ("chosen_change", "rejected_change")} for point, found in rows.items()}
    groups = by_algorithm([point for point, each in curves.items() if any(len(x) for x, _ in each.values())])
    if not groups:
        return None
    columns = min(2 if layout.stacked() else 3, len(groups))
    lines, entries = -(-len(groups) // columns), 3 if layout.stacked() else KEYS
    keys = -(-max(map(len, groups.values())) // entries)  # lines of a legend, which stands between the title and the panel
    height = (1.85 + KEY * keys) * lines + 0.4
    figure = drawing.new(layout.width(), height)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    gap = 0.45 + KEY * keys
    left, right, top = 0.62 / layout.width(), 1 - 0.14 / layout.width(), 1 - (0.25 + KEY * keys) / height
    figure.subplots_adjust(left=left, right=right, top=top, bottom=0.58 / height, wspace=0.12)
    figure.subplots_adjust(hspace=gap * lines / (height - 0.83 - KEY * keys - gap * (lines - 1)))
    table: list[dict[str, Any]] = []
    for axes, (name, group) in zip(panels.flat, groups.items(), strict=False):
        for position, point in enumerate(group):
            table += _pair(axes, point, curves[point], looks[name], SHADES[position % len(SHADES)])
        axes.axhline(0, color=INK, linewidth=0.6)
        layout.title(axes, titled(name, group), pad=4 + 72 * KEY * keys)
        place: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": entries, "borderaxespad": 0.1}
        axes.legend(fontsize=7, handlelength=1.2, columnspacing=1.0, handletextpad=0.5, labelspacing=0.15, **place)
    for axes in panels.flat[len(groups) :]:
        axes.set_visible(False)
    _frame(figure, panels, "change of log-prob, nats", len(groups))
    caption = "Mean change of a response's log-prob (summed over its tokens) against the SFT reference on the pairs trained on, averaged "
    caption += (
        f"within {100 / BINS:g} % of the budget, first seed: chosen solid, rejected dashed. The darkest line is the setting that ends "
    )
    caption += "nearest to the reference in KL. An algorithm that logs one of the two has one line; one that logs neither has no panel."
    return Drawing("logps", figure, table, "Log-probs of chosen and rejected responses", caption, _alternative(table))


def draw_proxy(rows: Rows, looks: Mapping[str, Look]) -> Drawing | None:
    """Proxy reward, gold reward and KL against share of the budget, for runs that log a proxy and a gold reward; else None."""
    shown = {point: found for point, found in rows.items() if all(len(binned(found, key)[0]) for key in ("proxy", "gold"))}
    if not shown:
        return None
    kept = {key: title for key, title in PROXY.items() if any(len(binned(found, key)[0]) for found in shown.values())}
    if "kl" in kept:
        kept.pop("k1", None)  # the cross-check stands in only where a run logs no exact KL
    figure, panels = layout.panels(len(kept), 1.45, layout.Margins(left=0.42), gap=0.42)
    table: list[dict[str, Any]] = []
    for axes, (key, title) in zip(panels, kept.items(), strict=True):
        for position, (point, found) in enumerate(shown.items()):
            x, y = binned(found, key)
            colour, alpha, line = looks[point.algorithm].colour, SHADES[position % 3], LINES[position % 4]
            axes.plot(x, y, label=f"{point.algorithm}  {point.setting}", color=colour, alpha=alpha, linestyle=line)
            table += _rows(point, key, x, y)
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("share of the budget")
        axes.set_xlim(0, 1)
    layout.legend_below(figure, *panels[0].get_legend_handles_labels(), most=3)
    caption = "Rollouts during training, first seed; a curve begins with the first rollout. Over-optimisation is a proxy that rises while "
    caption += "gold falls. The two rewards have different scales." + _held_out(list(shown))
    return Drawing("proxy", figure, table, "Proxy against gold over the run", caption, _alternative(table))


def _held_out(points: Sequence[Point]) -> str:
    """How well the reward model of each run ranks held-out pairs, runs with the same number together; empty where none says."""
    texts: dict[str, list[str]] = {}
    for point in points:
        found = point.head.get("diagnostics") or {}
        if (accuracy := found.get("reward_accuracy")) is not None:
            texts.setdefault(_accuracy(accuracy, found.get("reward_heldout_pairs")), []).append(f"{point.algorithm} {point.setting}")
    said = "; ".join(f"{text} ({', '.join(names)})" for text, names in texts.items())
    return f" Held-out pairs that the reward model ranks as the labels do: {said}." if said else ""


def _accuracy(recorded: Any, pairs: float | None) -> str:
    """A recorded share with its interval, or with the Wilson interval of that many pairs where the record holds the share alone."""
    if isinstance(recorded, dict):
        return f"{recorded['value']:.2f} [{recorded['lower']:.2f}, {recorded['upper']:.2f}], n={recorded['n']}"
    if not pairs:
        return f"{recorded:.2f}"
    centre, room = recorded + Z * Z / (2 * pairs), Z * math.sqrt(recorded * (1 - recorded) / pairs + Z * Z / (4 * pairs * pairs))
    low, high = ((centre + side * room) / (1 + Z * Z / pairs) for side in (-1, 1))
    return f"{recorded:.2f} [{low:.2f}, {high:.2f}], n={pairs:.0f}"


def titled(name: str, group: Sequence[Point]) -> str:
    """An algorithm with the names of what tells its points apart, whose values are in the panel's legend."""
    return "  ".join([name, *shown_setting(group[0].head)])


def binned(rows: Sequence[Row], key: str, bins: int = BINS) -> tuple[Array, Array]:
    """Shares of the budget and means of a metric within each of ``bins`` equal shares; both empty where it was not logged."""
    found = [(row["share"], row[key]) for row in rows if row.get(key) is not None and row.get("share") is not None]
    if not found:
        return np.empty(0), np.empty(0)
    x, y = np.array(found, dtype=np.float64).T
    slot = np.clip((x * bins).astype(int), 0, bins - 1)
    count = np.bincount(slot, minlength=bins)
    kept = count > 0
    mean: Callable[[Array], Array] = lambda values: np.bincount(slot, weights=values, minlength=bins)[kept] / count[kept]  # noqa: E731
    return mean(x), mean(y)


def _pair(axes: Axes, point: Point, curves: Mapping[str, tuple[Array, Array]], look: Look, shade: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, line in PAIR:
        x, y = curves[f"{name}_change"]
        label = point.knob if name == "chosen" else None
        axes.plot(x, y, color=look.colour, alpha=shade, linestyle=line, linewidth=1.1, label=label)
        rows += _rows(point, f"{name}_change", x, y)
    return rows


def _rows(point: Point, key: str, x: Array, y: Array) -> list[dict[str, Any]]:
    base = {"panel": key, "algorithm": point.algorithm, "setting": point.setting}
    return [base | {"share": float(a), "value": float(b)} for a, b in zip(x, y, strict=True)]


def _frame(figure: Any, panels: Any, label: str, shown: int) -> None:
    from matplotlib.lines import Line2D

    columns = panels.shape[1]
    for position, axes in enumerate(panels.flat):
        axes.set_xlim(0, 1)
        if position % columns == 0:
            axes.set_ylabel(label)
        if position < shown <= position + columns:  # the lowest panel of its column
            axes.set_xlabel("share of the budget")
            axes.tick_params(labelbottom=True)
    layout.legend_below(figure, [Line2D([], [], color=INK, linestyle=style) for _, style in PAIR], [name for name, _ in PAIR])


def _alternative(rows: Sequence[Mapping[str, Any]]) -> str:
    ends = {(row["algorithm"], row["setting"], row["panel"]): row["value"] for row in rows}
    texts = [f"{name} {setting}: {key} ends at {value:.2f}" for (name, setting, key), value in ends.items()]
    return "Curves against share of the budget. " + "; ".join(texts) + "."
