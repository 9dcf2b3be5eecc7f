"""What a record says of the world it was made in: task, judge, model, versions, and what depends on the machine."""

from __future__ import annotations

import contextlib
import platform
import resource
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from harness.measure.evaluate import Measurement
from harness.measure.yardstick import Yardstick
from harness.models import adapters, kernels, precision
from harness.planning import footing, origins
from harness.planning.assumptions import recorded
from harness.planning.experiment import Experiment
from harness.running.stages import Shared
from harness.running.yardstick import brought
from harness.training.ledger import Ledger

VERSIONS = ("preference-harness", "torch", "transformers", "numpy")


def checkpoint(found: Measurement) -> dict[str, Any]:
    """A measurement as a record holds it."""
    return {"alarms": found.alarms, "metrics": {name: interval._asdict() for name, interval in found.metrics.items()}}


def judge_facts(experiment: Experiment, shared: Shared, yard: Yardstick) -> dict[str, Any]:
    """What judged, as a record holds it.

    The column that decides, the second opinions beside it, where all that judges comes from, the columns of the task's own score, and
    what a judge is that is none of the task's.
    """
    found = {"primary": yard.judge.primary, "others": list(yard.judge.others), "lineage": origins.recorded(experiment, shared)}
    if shared.task.score is not None:
        found["columns"] = list(shared.task.score([], []))
    return found | ({"brought": _brought(experiment)} if experiment.judge_word else {})


def _brought(experiment: Experiment) -> dict[str, Any]:
    """What a judge is that is none of the task's."""
    judge = brought(experiment)
    return {"name": judge.name, "key": judge.key, "unit": judge.unit, **judge.facts}


def model_facts(experiment: Experiment, model: Any) -> dict[str, Any]:
    """Name, number of parameters and dtype of a model, and the kernels that this process multiplied with."""
    parameters = sum(p.numel() for p in model.parameters())
    made: dict[str, Any] = {"dtype": precision.named(model), "kernels": kernels.in_use()}
    if departing := footing.departures(experiment, footing.NAMES):
        made["footing"] = departing
    if adapters.has(model):
        made["trained"] = sum(p.numel() for p in adapters.weights(model))
    return {"name": Path(experiment.model).name, "parameters": parameters, **made}


def task_facts(experiment: Experiment) -> dict[str, Any]:
    """What cells and references alike record of the experiment."""
    task = {"name": experiment.task, "version": experiment.task_version, "source": experiment.source or "embedded"}
    return {
        "task": task,
        "quick": experiment.quick,
        "judge": {"primary": experiment.judge},
        "assumptions": recorded(experiment),
        "trial": experiment.source is not None or experiment.limit is not None,
        "model": {"name": Path(experiment.model).name},
        "versions": {name: _version(name) for name in VERSIONS} | {"python": platform.python_version()},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "not installed"


def peak_memory() -> int:
    """Most bytes of memory this process held since ``forget_peak``; since its start where the system keeps no such mark."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak() -> None:
    """Let ``peak_memory`` begin anew, so that one worker's earlier cells do not count against this one (Linux only)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def clock() -> Callable[[], float]:
    """What tells the seconds of a ledger; on an accelerator it first waits for the work that was sent there."""
    if not torch.cuda.is_available():
        return time.perf_counter

    def waited() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return waited


def run_times(ledger: Ledger, experiment: Experiment) -> dict[str, Any]:
    """Seconds by phase, device, threads and peak memory: what depends on the machine, kept in a file of its own."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    peak = peak_memory()
    total = sum(ledger.wall_seconds.values())
    seconds = {"wall": dict(ledger.wall_seconds), "cpu": dict(ledger.cpu_seconds), "total_wall": total}
    return {**seconds, "device": device, "threads": experiment.threads, "peak_memory_bytes": peak}
