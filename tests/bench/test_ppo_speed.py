"""PPO updates, a separate value model and the same algorithm, against TRL 1.12 in an environment of its own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.bench import ppo, speed
from tests.bench.records import CYCLES, Finding, publish
from tests.bench.workloads import W1

UPDATES = 3  # a process, after one that is not counted
GOAL = 2.5
SETTINGS = {"tuned, eager attention, oneDNN, memory kept": ("eager", "bf16"), "sdpa attention, BLAS": ("sdpa", "ieee")}

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("ignore"), pytest.mark.skipif(bool(ppo.absent()), reason=ppo.absent())]


def rounds(folder: Path, count: int) -> dict[str, list[float]]:
    """Median seconds per update of each process: ours and TRL under each setting, in turns."""
    specs = {name: ppo.specification(W1, folder, updates=UPDATES, attention=a, matmul=m) for name, (a, m) in SETTINGS.items()}
    found: dict[str, list[float]] = {name: [] for name in ("ours", *specs)}
    for _ in range(count):
        found["ours"].append(median(ppo.ours(next(iter(specs.values())))))
        for name, spec in specs.items():
            found[name].append(median(ppo.theirs(spec)))
    return found


def test_ppo(benchmark: Any, tmp_path: Path) -> None:
    found = benchmark.pedantic(rounds, (tmp_path, CYCLES))
    label = f"PPO update, W1, fp32, separate value model, {W1.batch} episodes, {ppo.EPOCHS} epochs"
    best = min(SETTINGS, key=lambda name: median(found[name]))
    ratio = [
        Finding(
            f"{label}: times as many updates per second",
            speed.ratios(found[name], found["ours"]),
            "x",
            f"TRL 1.12, fp32, {name}",
            GOAL if name == best else None,
        )
        for name in SETTINGS
    ]
    seconds = [Finding(f"{label}: {side}", speed.value(values), "s") for side, values in found.items()]
    publish("ppo-w1-fp32", [*ratio, *seconds], {"workload": asdict(W1), "seconds": found})
