"""The points of Figure 1 in words and as tables: what a page says beside a marker, and the figure's numbers for whoever reads no figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.measure.statistics import label
from harness.report.points import Point
from harness.report.section import Grid
from harness.report.spots import Spot

PANELS = {
    "win_sft": "Win rate against SFT samples, against KL",
    "win_reference": "Win rate against the data set's response, against KL",
    "gold": "Gold reward against KL",
}
KINDS = {"final": "finished run", "mark": "earlier mark", "seed": "finished run of seed", "optimal frontier": "optimal frontier"}
CAPTION = (
    "{panel}. The numbers of the figure: finished runs with the bounds that are drawn; single seeds and earlier marks, which have none; "
    "the optimal frontier with its band, over the prompts of these seeds. Its first point is the reference itself: a KL of 0, and for win "
    "rates one half, on every prompt, so that there is nothing to estimate. KL in nats per response; n counts prompts. Intervals over "
    "seeds and prompts are in Results."
)
ALIKE = 1e-9  # what sums of floats leave between bounds of what is the same on every prompt


def name(key: str, number: int) -> str:
    """What the parts of a point's drawing are called: its panel and its number among the points."""
    return f"point.{key}.{number}"


def spots(points: Sequence[Point], key: str, axis: str) -> list[Spot]:
    """What is said of every point of a panel: KL and value with the intervals that the tables have, how many seeds and prompts."""
    found = []
    for number, point in enumerate(points):
        kl, value = point.get("kl"), point.get(key)
        if kl is None or value is None:
            continue
        seeds = len(point.cells)
        said = [f"{point.title}, {point.setting}", f"KL {_said(kl.value, kl.lower, kl.upper)} nats"]
        said += [f"{axis} {_said(value.value, value.lower, value.upper)}"]
        said += [f"{seeds} {'seed' if seeds == 1 else 'seeds'}, n={value.n} prompts", f"intervals: {label(seeds)}"]
        found.append(Spot(name(key, number), key, point.algorithm, kl.value, "; ".join(said)))
    return found


def as_tables(rows: Sequence[Mapping[str, Any]]) -> list[Grid]:
    """The rows of the figure's CSV, a table for each panel: finished runs first, the optimal frontier last."""
    made = []
    for panel in dict.fromkeys(row["panel"] for row in rows):
        chosen = [row for kind in KINDS for row in rows if (row["panel"], row["kind"]) == (panel, kind)]
        heads = ["algorithm", "setting", "what", "KL, nats", "value"]
        made.append(Grid(heads, [_row(row) for row in chosen], CAPTION.format(panel=PANELS[panel]), 3))
    return made


def _row(row: Mapping[str, Any]) -> list[str]:
    kind, nan = str(row["kind"]), math.nan
    what = f"{KINDS[kind]} {row['seeds']}" if kind == "seed" else KINDS[kind]
    said = _fine if kind == "optimal frontier" else _said
    kl, value = (said(row[each], row.get(f"{each}_lower", nan), row.get(f"{each}_upper", nan)) for each in ("kl", "value"))
    n = f", n={row['n']}" if row.get("n") and value.endswith("]") else ""
    return [str(row.get("algorithm", "optimum")), str(row.get("setting", "")), what, kl, value + n]


def _said(value: float, lower: float, upper: float) -> str:
    bounds = "" if math.isnan(lower + upper) else f" [{lower:z.2f}, {upper:z.2f}]"
    return f"{value:z.2f}{bounds}"


def _fine(value: float, lower: float, upper: float) -> str:
    """A number to three digits, for the frontier begins far below a hundredth; one that no prompt differs in says so."""
    if upper - lower < ALIKE:
        return f"{value:z.3g} (on every prompt)"
    return f"{value:z#.3g}" + ("" if math.isnan(lower + upper) else f" [{lower:z#.3g}, {upper:z#.3g}]")
