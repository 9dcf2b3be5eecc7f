"""How often the intervals hold the truth: simulated studies whose truth is known, ``python -m harness.measure.statistics.coverage``.

Outcomes are wins (0 or 1) of S seeds on the same prompts. Seed s wins a prompt where a uniform number falls below its own win rate,
mean + N(0, seed_sd^2); with probability sqrt(correlation) the seeds take the prompt's one number, else each its own, so that any two
seeds' outcomes on a prompt have about that correlation. The mean over seeds and prompts is then known exactly.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.measure.statistics.intervals import two_way_intervals
from harness.measure.statistics.resampling import Array

SEEDS, CORRELATIONS, SEED_SDS = (3, 6, 12), (0.0, 0.3, 0.7), (0.0, 0.01, 0.05, 0.1)
PROMPTS, DATA_SETS, RESAMPLES = 384, 2000, 2000
TRUTH, BASELINE = 0.6, 0.5  # win rates of the algorithm and of what it is compared with
TOGETHER = 20  # data sets that share their resamples; more would make the share covered less certain than its error says

Row = dict[str, Any]


class Condition(NamedTuple):
    """One kind of study: seeds, correlation of a prompt's outcomes, standard deviation of the seeds' win rates."""

    seeds: int
    correlation: float
    seed_sd: float


CONDITIONS = tuple(itertools.starmap(Condition, itertools.product(SEEDS, CORRELATIONS, SEED_SDS)))


def outcomes(condition: Condition, generator: np.random.Generator, data_sets: int, prompts: int = PROMPTS) -> tuple[Array, Array]:
    """Wins of an algorithm and of its baseline, each (data sets, seeds, prompts), on the same prompts with seeds of their own."""
    shape = (data_sets, condition.seeds, prompts)
    common = generator.random((data_sets, 1, prompts))

    def wins(mean: float) -> Array:
        shared = generator.random(shape) < np.sqrt(condition.correlation)
        number = np.where(shared, common, generator.random(shape))
        return (number < mean + generator.normal(0, condition.seed_sd, (data_sets, condition.seeds, 1))).astype(np.float64)

    return wins(TRUTH), wins(BASELINE)


def covered(condition: Condition, generator: np.random.Generator, *, data_sets: int = DATA_SETS, resamples: int = RESAMPLES) -> Row:
    """Shares of the data sets whose 95 % interval holds the truth, for the win rate and for its paired difference from the baseline."""
    found = []
    for start in range(0, data_sets, TOGETHER):
        ours, theirs = outcomes(condition, generator, min(TOGETHER, data_sets - start))
        stack = np.concatenate([ours, ours - theirs])
        bounds = np.array([each[1:3] for each in two_way_intervals(stack, generator=generator, resamples=resamples)])
        truths = np.repeat([TRUTH, TRUTH - BASELINE], len(ours))
        inside = (bounds[:, 0] <= truths) & (truths <= bounds[:, 1])
        found.append(np.stack([inside, (bounds[:, 1] - bounds[:, 0]) / 2], 1).reshape(2, len(ours), 2))
    level, difference = np.concatenate(found, axis=1).mean(1)
    return {
        **condition._asdict(),
        "level": float(level[0]),
        "level_half_width": float(level[1]),
        "difference": float(difference[0]),
        "difference_half_width": float(difference[1]),
    }


def simulate(*, data_sets: int = DATA_SETS, resamples: int = RESAMPLES, start: int = 0) -> dict[str, Any]:
    """Every condition, each with a generator of its own, as ``docs/statistics/coverage.json`` holds it."""
    rows = [
        covered(condition, np.random.default_rng((start, index)), data_sets=data_sets, resamples=resamples)
        for index, condition in enumerate(CONDITIONS)
    ]
    sizes = {"data_sets": data_sets, "prompts": PROMPTS, "resamples": resamples, "truth": TRUTH, "baseline": BASELINE}
    return {**sizes, "rows": rows}


def table(found: dict[str, Any]) -> str:
    """The simulation as a Markdown table: coverage in percent with its Monte Carlo standard error, and mean half-widths in points."""
    lines = [
        "| seeds | prompt correlation | seed sd | win rate | half-width | paired difference | half-width |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        cells = [f"{row['seeds']}", f"{row['correlation']:g}", f"{row['seed_sd']:g}"]
        for key in ("level", "difference"):
            share = row[key]
            error = np.sqrt(share * (1 - share) / found["data_sets"])
            cells += [f"{100 * share:.1f} ± {100 * error:.1f} %", f"{100 * row[f'{key}_half_width']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    simulated = simulate()
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(simulated, indent=1) + "\n", encoding="utf-8")
    print(table(simulated))
