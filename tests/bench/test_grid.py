"""Whole grids, one more cell, and the command line's start, as a user waits for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.training.ledger import CHARGED
from tests.bench import grid, peer, speed
from tests.bench.records import Finding, publish
from tests.bench.workloads import W1

START = 0.15  # seconds of cpu
REPEATS = 15

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("ignore")]


@pytest.mark.skipif(bool(peer.absent()), reason=peer.absent())
def test_a_grid_and_one_more_cell(benchmark: Any, tmp_path: Path) -> None:
    made = grid.Grid(tmp_path, W1, grid.PAIRS, grid.SEEDS)
    found = benchmark.pedantic(grid.measured, (made, grid.GRID))
    label = f"grid of 5 algorithms x 4 settings x {grid.SEEDS} seeds, W1, fp32, {grid.PAIRS} pairs, one epoch, one core"
    against = f"independent TRL scripts, {peer.TUNED_FP32}, one of each loss measured; PPO as our own cells"
    charged = sum(value for phase, value in found["added_cell"].items() if phase in CHARGED)
    own = f"one more cell of a finished grid, {grid.PAIRS} pairs"
    publish(
        "grid-w1",
        [
            Finding(f"{label}: times as fast", once(found["theirs"] / found["ours"]), "x", against, 4.0),
            Finding(f"{label}: ours", once(found["ours"]), "s"),
            Finding(f"{label}: TRL", once(found["theirs"]), "s", against),
            Finding(f"{own}: seconds over those of its update", once(found["added"] / charged), "x", "its charged seconds", 1.05, "below"),
            Finding(f"{own}: ours, with evaluation and page", once(found["added"]), "s"),
            Finding(f"{own}: its update", once(charged), "s"),
            Finding("a finished grid again", once(found["finished"]), "s"),
        ],
        found,
    )


def once(value: float) -> speed.Value:
    """A value that was measured once."""
    return speed.value([value])


def cpu_seconds(*line: str) -> float:
    """User and system seconds of a process that ends."""
    before = os.times()
    subprocess.run([sys.executable, *line], check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_help_starts_at_once(benchmark: Any) -> None:
    found = benchmark.pedantic(lambda: [cpu_seconds("-m", "harness", "--help") for _ in range(REPEATS)])
    bare = [cpu_seconds("-c", "") for _ in range(REPEATS)]
    whole = Finding("harness --help, cpu seconds", speed.value(found), "s", goal=START, good="below")
    publish("start", [whole, Finding("a bare interpreter, cpu seconds", speed.value(bare), "s")], {"help": found, "bare": bare})
