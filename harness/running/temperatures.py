"""Measuring policies at other temperatures: at the end of a run, and later from the policy that the run kept."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from pathlib import Path

from harness.measure.temperature import measure_at
from harness.measure.yardstick import Yardstick
from harness.models.metered import Metered
from harness.models.packing import Past
from harness.planning.experiment import Experiment
from harness.running import kept
from harness.running.stages import Report, shared
from harness.running.yardstick import yardstick
from harness.store import temperatures
from harness.store.records import LOG
from harness.training.ledger import Ledger


def measure_all(
    policy: Metered, yard: Yardstick, wanted: Sequence[float], folder: Path, prompts: int, report: Report, past: Past | None = None
) -> None:
    """Measure a policy at each of these temperatures and write what was found beside its record; ``past``: see ``measure_at``."""
    found = []
    for position, temperature in enumerate(wanted):
        report(f"temperature {temperature:g}", position / len(wanted), None)
        each = measure_at(policy, yard, temperature, prompts=prompts, past=past)
        metrics = {name: interval._asdict() for name, interval in each.metrics.items()}
        found.append(temperatures.Measured(temperature, metrics, each.alarms, each.rows))
    if found:
        temperatures.add(folder, found)


def measure_later(experiment: Experiment, seed: int, folder: Path, report: Report, *, reference: bool) -> str:
    """Measure what a finished folder lacks, without training: the seed's SFT reference, or the policy that the run kept.

    What goes wrong is noted in the folder's log; its record stays what it was.
    """
    ledger = Ledger(math.inf)
    try:
        both = shared(experiment, seed, report)
        yard = yardstick(experiment, both, ledger, report)
        policy = both.reference(ledger) if reference else kept.load(folder, ledger)
        wanted = temperatures.missing(folder, experiment.temperatures)
        measure_all(policy, yard, wanted, folder, experiment.evaluation_prompts, report)
    except Exception:
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc())
        return "failed"
    return "finished"
