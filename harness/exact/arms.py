"""Three arms: what algorithms make of data that say too little (Azar et al. 2023, arXiv 2310.12036, section 5).

    python -m harness.exact.arms 'NAME.SETTING=VALUE[,VALUE...]' ... --out FOLDER

One prompt, three responses, a uniform reference, and data that are no sample of an annotator: ``ordered`` says once each that a beats b, b
beats c and a beats c; ``undecided`` says both that a beats b and that b beats a, and nothing of c. Learning curves of the probabilities,
means over seeds with 95 % intervals of the t distribution; a seed draws which comparisons a batch holds. The paper takes batches of 9,
18,000 steps of Adam at a rate of .01 and 10 seeds, and does not print its taus.

Seeds are trained together, as prompts of one world, by a loss whose rows know nothing of one another: a table's prompts share no weight and
Adam goes by single weights, so each seed's path is that of a run of its own.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.exact import training
from harness.exact.world import World
from harness.models.enumerable import log_probs
from harness.planning.settings import choices, parse_flag
from harness.plugins import registry
from harness.report import drawing, palette
from harness.report.drawing import Drawing
from harness.store.records import write_bytes
from harness.training.preference import PreferenceLoss
from harness.types import Array, Setting, TokenPair, Update

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ARMS = ("a", "b", "c")
DATA: Mapping[str, tuple[tuple[int, int], ...]] = {"ordered": ((0, 1), (1, 2), (0, 2)), "undecided": ((0, 1), (1, 0))}
BATCH = 9  # comparisons of one seed in every optimiser step
POINTS = 40  # of a learning curve
APART = {"z0", "batch", "state"}  # what a loss names whose rows know of one another: a batch is of one seed then


class Curves(NamedTuple):
    """Probabilities of the arms while one setting is trained, (seeds, points, arms), and the steps of the points."""

    label: str
    data: str
    steps: Array
    probabilities: Array


class Drawn(Sequence[TokenPair]):
    """``BATCH`` places for each seed, a prompt of its own; what is read from a place is drawn anew, with replacement, by the seed."""

    def __init__(self, world: World, data: str, seeds: Sequence[int]) -> None:
        said = world.responses
        each = [(prompt, said[better], said[worse]) for prompt in world.prompts for better, worse in DATA[data]]
        self.rows = [TokenPair(row, *ids, agreement=1.0, margin=1.0) for row, ids in enumerate(each)]
        self.generators = [np.random.default_rng(seed) for seed in seeds]

    def __len__(self) -> int:
        return BATCH * len(self.generators)

    def __getitem__(self, place: Any) -> Any:
        if not 0 <= place < len(self):
            raise IndexError(place)
        seed, size = place // BATCH, len(self.rows) // len(self.generators)
        return self.rows[seed * size + int(self.generators[seed].integers(size))]

    def __iter__(self) -> Iterator[TokenPair]:
        """A row that each place may hold, none drawn: for who asks what pairs these are, and not which."""
        size = len(self.rows) // len(self.generators)
        return (self.rows[place // BATCH * size] for place in range(len(self)))


def learnt(
    algorithm: Any, setting: Mapping[str, Setting], data: str, *, steps: int, rate: float, seeds: Sequence[int]
) -> tuple[Array, Array]:
    """Steps of the points of the learning curves, and the arms' probabilities there, (seeds, points, arms)."""
    world = World(np.full((len(seeds), 3), -math.log(3)), np.zeros((len(seeds), 3)))
    pairs, values = Drawn(world, data, seeds), {**setting, "learning_rate": rate}
    given = training.setup(world, values, pairs=pairs.rows, steps=steps, batch=len(pairs), seed=seeds[0])
    found: list[Array] = []
    every = max(1, steps // POINTS)

    def heard(update: Update) -> None:
        if update.step % every == 0:
            found.append(np.exp(log_probs(given.policy.model, len(seeds)).numpy()))

    training.converge(algorithm, replace(given, pairs=pairs), world, heard=heard)
    return every * np.arange(1, len(found) + 1, dtype=np.float64), np.stack(found, axis=1)


def curves(name: str, setting: Mapping[str, Setting], data: str, *, steps: int, rate: float, seeds: int) -> Curves:
    """The learning curves of an algorithm at a setting over the seeds."""
    algorithm = registry.load("algorithms", name).algorithm
    together = isinstance(algorithm, PreferenceLoss) and not APART.intersection(algorithm.signature.arguments)
    parts = [range(seeds)] if together else [[seed] for seed in range(seeds)]
    runs = [learnt(algorithm, setting, data, steps=steps, rate=rate, seeds=part) for part in parts]
    label = " ".join([name, *(f"{key} = {value}" for key, value in setting.items())])
    return Curves(label, data, runs[0][0], np.concatenate([found for _, found in runs]))


def draw(found: Sequence[Curves], caption: str) -> Drawing:
    """A row of panels for each data set, a panel for each setting."""
    rows = list(dict.fromkeys(each.data for each in found))
    labels = list(dict.fromkeys(each.label for each in found))
    figure = drawing.new(1.75 * len(labels) + 0.6, 1.7 * len(rows) + 0.8)
    panels = figure.subplots(len(rows), len(labels), sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(left=0.5 / figure.get_figwidth(), right=0.99, top=0.92, bottom=0.2, wspace=0.12, hspace=0.15)
    table: list[dict[str, Any]] = []
    for each in found:
        axes = panels[rows.index(each.data)][labels.index(each.label)]
        table += _panel(axes, each)
        if each.data == rows[0]:
            axes.set_title(each.label, fontsize=8)
        axes.set_ylabel(f"{each.data}: probability" if each.label == labels[0] else "")
    for axes in panels[-1]:
        axes.set_xlabel("steps")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="lower center", ncols=3)
    return Drawing("three-arms", figure, table, "Three arms", caption, "Learning curves of three probabilities")


def _panel(axes: Axes, curves: Curves) -> list[dict[str, Any]]:
    from scipy.stats import t

    mean, seeds = curves.probabilities.mean(0), len(curves.probabilities)
    error = curves.probabilities.std(0, ddof=1) / math.sqrt(seeds) * t.ppf(0.975, seeds - 1) if seeds > 1 else np.zeros_like(mean)
    rows = []
    for arm, name in enumerate(ARMS):
        low, high = mean[:, arm] - error[:, arm], mean[:, arm] + error[:, arm]
        axes.plot(curves.steps, mean[:, arm], color=palette.COLOURS[arm], label=name, linestyle=palette.LINES[arm])
        axes.fill_between(curves.steps, low, high, color=palette.COLOURS[arm], alpha=0.2, linewidth=0)
        about = {"data": curves.data, "setting": curves.label, "arm": name, "seeds": seeds}
        columns = zip(curves.steps, mean[:, arm], low, high, strict=True)
        rows += [about | {"step": s, "probability": m, "low": lo, "high": hi} for s, m, lo, hi in columns]
    axes.set_ylim(0, 1)
    return rows


def main(words: Sequence[str] | None = None) -> None:
    """Draw the figure: three-arms.svg, .png and .csv."""
    parser = argparse.ArgumentParser(prog="python -m harness.exact.arms", description="Learning curves on three arms.")
    parser.add_argument("settings", nargs="+", metavar="NAME.SETTING=VALUES")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path())
    given = parser.parse_args(words)
    size = {"steps": given.steps, "rate": given.rate, "seeds": given.seeds}
    found = []
    for name, setting, values in map(parse_flag, given.settings):
        for value in choices(registry.find("algorithms", name), {setting: values}, "")[setting.replace("-", "_")]:
            found += [curves(name, {setting: value}, data, **size) for data in DATA]
    with drawing.style():
        figure = draw(found, f"Batches of {BATCH}, {given.steps} steps of Adam from a rate of {given.rate:g}, {given.seeds} seeds.")
        drawing.write(figure, given.out, ("svg", "png"))
        write_bytes(given.out / "three-arms.csv", drawing.table(figure.rows).encode())
    for each in found:
        ends = ", ".join(f"{arm} {value:.3f}" for arm, value in zip(ARMS, each.probabilities[:, -1].mean(0), strict=True))
        print(f"{each.label:<28} {each.data:<10} {ends}")


if __name__ == "__main__":
    from harness.errors import HarnessError

    try:
        main()
    except HarnessError as error:
        raise SystemExit(f"error: {error}") from None
