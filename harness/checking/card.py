"""The loss card: value and gradient weight of a loss against the gap and against the chosen log-ratio, beside losses that are known.

Losses have units of their own. Each is divided by its gradient weight at the reference, so that all fall there with slope -1 in the chosen
log-prob, and its value at the reference is taken off; where that weight is 0, the largest in the panel stands in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from harness.plugins import cases
from harness.report import drawing, palette
from harness.report.drawing import Drawing
from harness.training.preference import PreferenceLoss
from harness.types import Array, Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REACH, POINTS = 10.0, 401  # nats to both sides of the reference
LEVEL, LENGTH = -40.0, 20.0  # of both reference log-probs, nats, and of both responses, tokens
WIDTH, HEIGHT = 7.2, 5.2  # inches
SIDES = ("chosen", "rejected")


class Curve(NamedTuple):
    """A loss along a path: the path in nats, its value, and minus its gradient in the chosen and in the rejected log-prob."""

    path: Array
    value: Array
    chosen: Array
    rejected: Array


class Line(NamedTuple):
    """A loss at a setting, and what the legend calls it."""

    loss: PreferenceLoss
    settings: Mapping[str, Setting]
    label: str


def along(line: Line, of_gap: bool) -> Curve:
    """A loss as the gap h grows from both sides at once (c = h / 2, r = -h / 2), or as both responses move together (c = r, h = 0)."""
    path = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
    chosen, rejected = (path / 2, -path / 2) if of_gap else (path, path)
    if line.loss.signature.unpaired:
        values, slopes = _responses(line, chosen, rejected)
    else:
        case = _case(chosen, rejected)
        found = cases.gradients(line.loss, case, line.settings)
        values = cases.evaluate(line.loss, case, line.settings).detach()
        slopes = [found.get(side, torch.zeros_like(path)) for side in SIDES]
    return Curve(path.numpy(), values.numpy(), *(-slope.numpy() for slope in slopes))


def _responses(line: Line, chosen: torch.Tensor, rejected: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """An unpaired loss of a desirable response plus that of an undesirable one, z0 being 0."""
    values, slopes = torch.zeros_like(chosen), []
    for desirable, ratio in ((True, chosen), (False, rejected)):
        case = _case(ratio, ratio) | {"desirable": torch.full((POINTS,), desirable)}
        values = values + cases.evaluate(line.loss, case, line.settings).detach()
        slopes.append(cases.gradients(line.loss, case, line.settings)["logps"])
    return values, slopes


def _case(chosen: torch.Tensor, rejected: torch.Tensor) -> dict[str, Any]:
    level, length = torch.full_like(chosen, LEVEL), torch.full_like(chosen, LENGTH)
    case = cases.draw_case(0, rows=POINTS)  # for whatever else a loss may name
    case |= {"chosen": level + chosen, "rejected": level + rejected, "logps": level + chosen}
    case |= {"ref_chosen": level, "ref_rejected": level, "ref_logps": level, "z0": torch.zeros((), dtype=torch.float64)}
    case |= {"chosen_lengths": length, "rejected_lengths": length, "lengths": length}
    rewards = torch.stack([torch.ones_like(chosen), torch.zeros_like(chosen)], 1)
    return case | {"margin": torch.ones_like(chosen), "agreement": torch.full_like(chosen, 0.8), "reward": rewards}


def draw(lines: Sequence[Line]) -> Drawing:
    """The card of the first line beside the others."""
    looks = palette.looks([(line.loss.name, False) for line in lines[1:]])  # its own line is black, whatever it is called
    figure = drawing.new(WIDTH, HEIGHT)
    panels = figure.subplots(2, 2, sharex=True)
    figure.subplots_adjust(left=0.085, right=0.985, top=0.95, bottom=0.165, wspace=0.2, hspace=0.2)
    rows: list[dict[str, Any]] = []
    for column, of_gap in enumerate((True, False)):
        for line in reversed(lines):
            curve = _scaled(along(line, of_gap))
            _plot(panels[0][column], panels[1][column], curve, line.label, looks.get(line.loss.name) if line is not lines[0] else None)
            rows += _rows(line, curve, of_gap)
        _finish(panels[0][column], panels[1][column], of_gap)
    handles = panels[0][0].get_legend_handles_labels()
    figure.legend(*(list(reversed(each)) for each in handles), loc="lower center", ncols=2)
    caption = "Each loss is divided by its gradient weight at the reference and its value there is taken off: only shapes are compared."
    name = f"{lines[0].loss.name}-card"
    return Drawing(name, figure, rows, f"The loss {lines[0].loss.name}", caption, "; ".join(line.label for line in lines))


def _scaled(curve: Curve) -> Curve:
    middle = len(curve.path) // 2
    weight = abs(curve.chosen[middle]) or float(np.abs(curve.chosen).max()) or float(np.abs(curve.rejected).max()) or 1.0
    return Curve(curve.path, (curve.value - curve.value[middle]) / weight, curve.chosen / weight, curve.rejected / weight)


def _plot(above: Axes, below: Axes, curve: Curve, label: str, look: palette.Look | None) -> None:
    style: Any = {"color": look.colour if look else palette.INK, "linewidth": 1.1 if look else 2.0}
    above.plot(curve.path, curve.value, label=label, **style)
    below.plot(curve.path, curve.chosen, **style)
    below.plot(curve.path, curve.rejected, linestyle="--", **style)


def _finish(above: Axes, below: Axes, of_gap: bool) -> None:
    """Titles, labels and limits: within 4 of a reference slope everybody can be told apart, and squares leave it soon."""
    above.set_title("against the gap h" if of_gap else "both responses moved together, h = 0")
    below.set_xlabel("h = log-ratio of chosen less that of rejected, nats" if of_gap else "log-ratio of chosen, and of rejected, nats")
    if of_gap:
        above.set_ylabel("value over its slope at h = 0")
        below.set_ylabel("gradient weight: chosen, rejected dashed")
    above.set_ylim(-REACH * 0.6, REACH * 1.1)
    below.set_ylim(-3, 3)
    for axes in (above, below):
        axes.axvline(0, color="#999999", linewidth=0.6)


def _rows(line: Line, curve: Curve, of_gap: bool) -> Iterator[dict[str, Any]]:
    path = "gap" if of_gap else "together"
    for x, value, chosen, rejected in zip(*curve, strict=True):
        found = {"value": value, "chosen_weight": chosen, "rejected_weight": rejected}
        yield {"loss": line.label, "path": path, "nats": float(x), **{name: float(number) for name, number in found.items()}}


def save(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Write NAME-card.svg and NAME-card.png and return them."""
    with drawing.style():
        card = draw(lines)
        drawing.write(card, folder, ("svg", "png"))
    return [folder / f"{card.name}.{kind}" for kind in ("svg", "png")]
