"""docs/performance/growth.png from its record: seconds and memory against each factor, on logarithmic axes, with the fitted exponents.

``python -m tests.bench.growth_figure``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from harness.report.palette import COLOURS, INK
from tests.bench import records
from tests.bench.growth import COSTS, RANGES, UNITS, exponent

LOOKS = {"update": (COLOURS[0], "o", "-"), "sampling": (COLOURS[1], "s", "--"), "memory": (COLOURS[2], "^", "-")}
ROWS = (("update", "sampling"), ("memory",))
NAMES = {"prompt": "prompt", "response": "response", "vocabulary": "vocabulary", "batch": "batch", "weights": "weights"}


def draw(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Two rows (seconds, memory) of one panel per factor, 6.9 inches wide."""
    with plt.rc_context({"font.size": 7, "axes.linewidth": 0.6, "lines.linewidth": 1.0, "lines.markersize": 3}):
        figure, grid = plt.subplots(2, len(RANGES), figsize=(6.9, 3.7), sharex="col", sharey="row", layout="constrained")
        for column, factor in enumerate(RANGES):
            rows = [row for row in points if row["factor"] == factor]
            for axes, costs in zip(grid[:, column], ROWS, strict=True):
                _panel(axes, rows, costs)
            grid[0, column].set_title(NAMES[factor], fontsize=8)
            grid[1, column].set_xlabel(UNITS[factor])
        grid[0, 0].set_ylabel("seconds")
        grid[1, 0].set_ylabel("MiB above the imports")
        figure.legend(*_handles(grid), loc="outside upper center", ncols=3, frameon=False)
        figure.savefig(path, dpi=200)
        plt.close(figure)


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], costs: Sequence[str]) -> None:
    """The costs of one factor, each line ended by its exponent over the whole range."""
    amounts = [row["value"] for row in rows]
    slopes = []
    for cost in costs:
        colour, marker, line = LOOKS[cost]
        values = [row[cost] / (2**20 if cost == "memory" else 1) for row in rows]
        axes.plot(amounts, values, color=colour, marker=marker, linestyle=line, label=COSTS[cost].replace("bytes", "memory"))
        slopes.append((colour, exponent(amounts, values).median))
    for place, (colour, slope) in enumerate(slopes):
        axes.text(0.06, 0.97 - 0.11 * place, f"exponent {slope:.2f}", color=colour, transform=axes.transAxes, va="top")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))
    axes.margins(y=0.25)
    axes.grid(True, color="#DDDDDD", linewidth=0.4)
    axes.tick_params(colors=INK, width=0.5, length=2)


def _handles(grid: Any) -> tuple[list[Any], list[str]]:
    found = [axes.get_legend_handles_labels() for axes in grid[:, 0]]
    return [h for handles, _ in found for h in handles], [label for _, labels in found for label in labels]


def _short(x: float) -> str:
    """12k for 12000, 3M for 3000000."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if x >= size:
            return f"{x / size:g}{letter}"
    return f"{x:g}"


def main() -> None:
    """Draw the committed record."""
    (record,) = (row for row in records.read() if row["name"] == "growth")
    draw(record["raw"]["points"], records.FOLDER / "growth.png")


if __name__ == "__main__":
    main()
