"""Figure 1: win rate against KL and gold reward against KL, side by side, each with its own optimal frontier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.measure.statistics import Interval
from harness.report import drawing, frontier_points, layout
from harness.report.bars import drawn_interval, seed_dots, what_bars_are
from harness.report.drawing import Drawing
from harness.report.optimum import Optimum, optima
from harness.report.palette import INK, Look
from harness.report.placing import Label, place
from harness.report.points import Point, by_algorithm, reference_metric
from harness.report.spots import claim, parts
from harness.store.records import Cell, Reference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

AXES = {"win_sft": "win rate against SFT samples", "win_reference": "win rate against the data set's response", "gold": "mean gold reward"}
OPTIMA = {
    "win_sft": "The optimal win-rate frontier (the reference tilted by the probability of beating a reference sample)",
    "gold": "The optimal gold frontier (the reference tilted by gold)",
}
TITLES = {"win_sft": "Win rate against KL", "win_reference": "Win rate against KL", "gold": "Gold reward against KL"}


def draw(
    points: Sequence[Point],
    references: Sequence[Reference],
    looks: Mapping[str, Look],
    mixtures: Sequence[Cell] = (),
    *,
    linear: bool = False,
) -> Drawing | None:
    """The figure, or None where no cell has both a KL and one of its two vertical axes; ``linear`` draws KL so and not as a logarithm."""
    shown = [key for key in (_win_key(points), "gold") if key and _defined(points, key)]
    if not shown:
        return None
    figure, panels = layout.panels(len(shown), 2.4, gap=0.62, low=2.1)
    lines = optima(references, mixtures)
    pairs, optimal = list(zip(panels, shown, strict=True)), {key: lines.get(key) for key in shown}
    rows = [row for axes, key in pairs for row in _panel(axes, key, points, references, looks, optimal[key], linear=linear)]
    handles = _handles(points, looks, frontier=any(key in lines for key in shown))
    layout.legend_below(figure, handles, [str(each.get_label()) for each in handles], most=3, handle=2.2)
    caption, name = _caption(points, shown, lines, linear=linear), "frontier-linear" if linear else "frontier"
    spots = [spot for key in shown for spot in frontier_points.spots(points, key, AXES[key])]
    return Drawing(name, figure, rows, "Win rate and gold reward against KL", caption, _alternative(points, shown), spots)


def _win_key(points: Sequence[Point]) -> str | None:
    return next((key for key in ("win_sft", "win_reference") if _defined(points, key)), None)


def _defined(points: Sequence[Point], key: str) -> bool:
    return any(point.value(key) is not None and point.value("kl") is not None for point in points)


def _panel(
    axes: Axes,
    key: str,
    points: Sequence[Point],
    references: Sequence[Reference],
    looks: Mapping[str, Look],
    line: Optimum | None,
    *,
    linear: bool,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if line is not None:
        rows += _optimum(axes, key, line)
    drawn = [(point, kl, y) for point in points if (kl := drawn_interval(point, "kl")) and (y := drawn_interval(point, key))]
    names = {point: frontier_points.name(key, number) for number, point in enumerate(points)}
    labels, hollow = [], []
    for point, kl, y in drawn:
        look = looks[point.algorithm]
        pairs = [(point.value("kl", mark), point.value(key, mark)) for mark in point.marks]
        path = [(a, b) for a, b in pairs if a is not None and b is not None]
        hollow += path
        with parts(axes, names[point]):
            _trail(axes, [*path, (kl.value, y.value)], look)
            rows += seed_dots(axes, key, point, look)
            _final(axes, kl, y, look)
        labels.append(Label(kl.value, y.value, point.knob, look.colour))
        rows.append(_row(key, point, "final", kl, y))
        rows += [_row(key, point, "mark", Interval(a, *_NO_BOUNDS), Interval(b, *_NO_BOUNDS)) for a, b in path]
    start = 0.5 if key == "win_sft" else getattr(reference_metric(references, key), "value", None)
    if start is not None:
        axes.plot([0], [start], marker="*", markersize=10, color=INK, linestyle="none", zorder=6, clip_on=False)
    if key != "gold":
        axes.axhline(0.5, color="#888888", linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    ends = [kl.value if math.isnan(kl.upper) else kl.upper for _, kl, _ in drawn] + [row["kl"] for row in rows if row["kind"] == "seed"]
    drawing.kl_axis(axes, max([*ends, *(x for x, _ in hollow), 0.0]), linear=linear)
    axes.set_ylabel(AXES[key])
    axes.set_title(TITLES[key])
    axes.margins(y=0.08)
    bars = [end for _, kl, y in drawn for end in _along(kl, y)]
    course = [] if line is None else [(spot.kl.value, spot.value.value) for spot in line.spots]
    written = place(axes, labels, taken=[*hollow, *bars, *course, *([(0.0, start)] if start is not None else [])])
    for (point, _, _), label in zip(drawn, written, strict=True):
        claim([label, *filter(None, [label.arrow_patch])], names[point], "label")
    return rows


_NO_BOUNDS = (math.nan, math.nan, 0)


def _optimum(axes: Axes, key: str, line: Optimum) -> list[dict[str, Any]]:
    """Draw the optimal frontier with its band; its rows for the CSV."""
    xs = [spot.kl.value for spot in line.spots]
    band = [spot.value.lower for spot in line.spots], [spot.value.upper for spot in line.spots]
    axes.fill_between(xs, *band, color="#999999", alpha=0.3, linewidth=0)
    axes.plot(xs, [spot.value.value for spot in line.spots], color=INK, linewidth=1.1, linestyle=(0, (5, 2)))
    return [{"panel": key, "kind": "optimal frontier", "ess": spot.ess} | _columns(spot.kl, spot.value) for spot in line.spots]


def _trail(axes: Axes, path: Sequence[tuple[float, float]], look: Look) -> None:
    xs, ys = zip(*path, strict=True)
    axes.plot(xs, ys, color=look.colour, linewidth=0.6, linestyle=look.line, alpha=0.55, zorder=2)
    hollow: Any = {"markerfacecolor": "white", "markeredgewidth": 0.6}
    axes.plot(xs[:-1], ys[:-1], linestyle="none", marker=look.marker, markersize=2.8, color=look.colour, alpha=0.7, zorder=3, **hollow)


def _final(axes: Axes, kl: Interval, y: Interval, look: Look) -> None:
    bars: dict[str, Any] = {"color": look.colour, "linewidth": 0.8, "zorder": 4}
    if not math.isnan(kl.lower + kl.upper):
        axes.plot([kl.lower, kl.upper], [y.value, y.value], **bars)
    if not math.isnan(y.lower + y.upper):
        axes.plot([kl.value, kl.value], [y.lower, y.upper], **bars)
    axes.plot(
        [kl.value], [y.value], marker=look.marker, markersize=5, color=look.colour, markerfacecolor=look.face, linestyle="none", zorder=5
    )


def _along(kl: Interval, y: Interval) -> list[tuple[float, float]]:
    """Places on a point's vertical interval that labels should keep clear of."""
    if math.isnan(y.lower + y.upper):
        return []
    return [(kl.value, y.lower + part * (y.upper - y.lower)) for part in (0.0, 0.2, 0.35, 0.65, 0.8, 1.0)]


def _row(key: str, point: Point, kind: str, kl: Interval, y: Interval) -> dict[str, Any]:
    return {"panel": key, "kind": kind, "algorithm": point.algorithm, "setting": point.setting, "seeds": len(point.cells)} | _columns(kl, y)


def _columns(kl: Interval, y: Interval) -> dict[str, Any]:
    names = ("", "_lower", "_upper")
    found = {f"kl{name}": value for name, value in zip(names, kl, strict=False)}
    found |= {f"value{name}": value for name, value in zip(names, y, strict=False)}
    return found | ({} if math.isnan(y.lower + y.upper) else {"n": y.n})


def _handles(points: Sequence[Point], looks: Mapping[str, Look], *, frontier: bool) -> list[Line2D]:
    from matplotlib.lines import Line2D

    names = legend_names(points)
    found = [
        Line2D(
            [],
            [],
            color=look.colour,
            marker=look.marker,
            markerfacecolor=look.face,
            linestyle=look.line,
            markersize=5,
            linewidth=0.8,
            label=names[name],
        )
        for name, look in looks.items()
        if name in names
    ]
    hollow: Any = {"color": "#777777", "marker": "o", "markersize": 3, "markerfacecolor": "white", "linewidth": 0.6}
    found.append(Line2D([], [], label="earlier marks of the run", **hollow))
    found.append(Line2D([], [], color=INK, marker="*", markersize=9, linestyle="none", label="SFT reference (KL 0)"))
    if frontier:
        found.append(Line2D([], [], color=INK, linestyle=(0, (5, 2)), label="optimal frontier of the axis"))
    return found


def legend_names(points: Sequence[Point]) -> dict[str, str]:
    """Each algorithm's name with its knob and with the conventions that are its own (a key that no other algorithm has)."""
    conventions = {point.algorithm: point.head["algorithm"].get("conventions") or {} for point in points}
    uses = [key for each in conventions.values() for key in each]
    names = {}
    for point in points:
        own = [f"{key} {value}" for key, value in conventions[point.algorithm].items() if uses.count(key) == 1 and len(conventions) > 1]
        knob = point.head["algorithm"].get("knob")
        names[point.algorithm] = (
            f"{point.algorithm} ({'; '.join([*([str(knob)] if knob else []), *own])})" if knob or own else point.algorithm
        )
    return names


def _settings(points: Sequence[Point]) -> str:
    """Each algorithm's knob with its values, and in brackets its conventions and the settings that are words, choices between variants."""
    said = []
    for name, group in by_algorithm(points).items():
        head = group[0].head
        knob = head["algorithm"].get("knob")
        chosen = {key: value for key, value in head.get("settings", {}).items() if isinstance(value, str) and key != knob}
        facts = {**(head["algorithm"].get("conventions") or {}), **chosen}
        values = f" {knob} {', '.join(point.knob for point in group)}" if knob else ""
        said.append(name + values + (f" ({', '.join(f'{key} {value}' for key, value in facts.items())})" if facts else ""))
    return f"Settings: {'; '.join(said)}."


def _caption(points: Sequence[Point], shown: Sequence[str], lines: Mapping[str, Optimum], *, linear: bool) -> str:
    said = [
        f"Filled points are finished runs, labelled with the knob's value, with {what_bars_are(points)}; hollow points are earlier marks,",
        f"from the first at which the policy itself was being trained. {drawing.KL_LINEAR if linear else drawing.KL_SCALE}",
    ]
    if "gold" not in shown:
        said.append("The gold panel is left out: this task has no gold reward.")
    drawn = [key for key in shown if key in lines]
    said += [OPTIMA[key] + _frontier_ends(lines[key]) for key in drawn]
    if not drawn:
        said.append("No optimal frontier: the records hold none.")
    return " ".join([*said, _settings(points)])


def _frontier_ends(line: Optimum) -> str:
    """What an optimal frontier is estimated from, where its line stops, and why."""
    last = line.spots[-1]
    if line.exact:
        made = f" is exact: all {line.samples} responses to a prompt are known"
        return f"{made}; it is drawn to KL {last.kl.value:.2f}, the sharpest tilt tried."
    others = f" and {line.others} of {line.policies} policies" if line.others else ""
    made = f" is estimated from {line.samples} samples of the reference{others} per prompt and drawn to KL {last.kl.value:.2f}"
    if not line.ended:
        return f"{made}, the sharpest tilt tried (effective sample size {last.ess:.1f})."
    why = "beyond, the weights leave an effective sample size below 8, too few to estimate from; it is not a limit of what can be reached"
    return f"{made} (effective sample size {last.ess:.1f}): {why}."


def _alternative(points: Sequence[Point], shown: Sequence[str]) -> str:
    texts = []
    for point in points:
        values = [f"{AXES[key]} {value:.2f}" for key in shown if (value := point.value(key)) is not None]
        kl = point.value("kl")
        texts.append(
            f"{point.algorithm} {point.setting}: KL {kl:.2f}, {', '.join(values)}" if kl is not None else f"{point.algorithm}: no KL"
        )
    return "Scatter plot against KL. " + "; ".join(texts) + "."
