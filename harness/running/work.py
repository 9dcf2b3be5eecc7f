"""What workers are told to do: the jobs of a comparison, each imported where it is done, so that the parent loads no torch.

All take ``report(stage, share, loss)``, which hears of progress, and return a status.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.planning.budget import Budget
from harness.planning.experiment import Cell, Experiment


def prepare(experiment: Experiment, seed: int, report: Callable[..., None]) -> str:
    """The shared stages of a seed, and what its policies are held against."""
    from harness.running import baseline

    return baseline.prepare(experiment, seed, report)


def draw_samples(experiment: Experiment, seed: int, report: Callable[..., None]) -> str:
    """A reference's samples for the frontiers, drawn and cached."""
    from harness.running import baseline

    return baseline.draw_samples(experiment, seed, report)


def measure_reference(experiment: Experiment, seed: int, folder: Path, report: Callable[..., None]) -> str:
    """The reference of a seed, measured and recorded."""
    from harness.running import baseline

    return baseline.measure_reference(experiment, seed, folder, report)


def measure_temperatures(experiment: Experiment, seed: int, folder: Path, reference: bool, report: Callable[..., None]) -> str:
    """A reference or a kept policy at the temperatures that its record lacks."""
    from harness.running import temperatures

    return temperatures.measure_later(experiment, seed, folder, report, reference=reference)


def measure_mixture(experiment: Experiment, seed: int, study: Path, report: Callable[..., None]) -> str:
    """What a seed's policies add to its frontiers."""
    from harness.running import mixture

    return mixture.measure_mixture(experiment, seed, study, report)


def run_cell(experiment: Experiment, cell: Cell, budget: Budget, folder: Path, report: Callable[..., None]) -> str:
    """One run: trained, measured, recorded."""
    from harness.running.cell import Plan, run_cell

    return run_cell(Plan(experiment, cell, budget, folder), report)
