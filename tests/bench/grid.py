"""A whole grid by ``harness compare`` against the same grid as independent TRL scripts, and one more cell added to a finished grid.

All processes compute on one thread, one at a time. A script of each loss is measured once and counted for every setting and seed. PPO,
which TRL no longer has, costs both sides what our own cells took. Ours does more: SFT models, a judge, win rates, a page.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench import peak, workloads
from tests.bench.speed import CLOCK
from tests.bench.workloads import Workload

PAIRS = int(os.environ.get("HARNESS_BENCH_GRID_PAIRS", "1024"))
SEEDS = 3
GRID: Mapping[str, tuple[str, Sequence[float]]] = {
    "dpo": ("beta", (0.05, 0.1, 0.2, 0.5)),
    "ipo": ("target_gap", (2.0, 4.0, 8.0, 16.0)),
    "kto": ("beta", (0.05, 0.1, 0.2, 0.5)),
    "dpop": ("penalty", (0.03, 0.1, 0.3, 2.0)),
    "ppo": ("kl_coef", (0.05, 0.1, 0.2, 0.5)),
}
# TRL has no DPO-positive; sigmoid with a likelihood term of the chosen response is the nearest, and costs about the same.
LOSSES = {"dpo": "sigmoid", "ipo": "ipo", "kto": "kto", "dpop": "sigmoid+sft"}
ADDED = ("dpo", 0.3)

EXPERIMENT = """
task = "tldr"
seeds = {seeds}
budget = "1epochs"
pairs = {pairs}
batch_pairs = {batch}
sft_steps = 1
evaluation_prompts = 16
mark_prompts = 1
opponent_samples = 1
marks = []
temperatures = []
frontier_samples = 0
threads = 1
stage_threads = 1
keep_policies = "none"
"""


class Grid:
    """A folder with the model, the pairs and the results of both sides."""

    def __init__(self, folder: Path, workload: Workload, pairs: int, seeds: int) -> None:
        self.folder, self.workload, self.seeds, self.pairs = folder, workload, seeds, pairs
        self.model, self.data = folder / "model", folder / "pairs.jsonl"
        model = workloads.plain_model(workload)
        model.generation_config.pad_token_id = None
        model.save_pretrained(self.model)
        workloads.tokenizer(workload).save_pretrained(self.model)

    def rows(self, count: int) -> list[str]:
        """So many pairs as lines of JSON."""
        found = workloads.texts(self.workload, count)
        return [json.dumps({"prompt": p.prompt, "chosen": p.chosen.text, "rejected": p.rejected.text}) for p in found]

    def compare(self, grid: Mapping[str, tuple[str, Sequence[float]]], seeds: int) -> float:
        """Seconds of ``harness compare`` over this grid; what the folder already holds is not computed again."""
        self.data.write_text("\n".join(self.rows(2 * self.pairs)))  # the tool keeps a part of a file from every algorithm
        text = EXPERIMENT.format(seeds=list(range(seeds)), pairs=self.pairs, batch=self.workload.batch)
        text += "".join(f"\n[algorithms.{name}]\n{knob} = {list(values)}\n" for name, (knob, values) in grid.items())
        path = self.folder / "experiment.toml"
        path.write_text(text)
        where = ["--data", self.data, "--model", self.model, "--results", self.folder / "results", "--jobs", "1"]
        environment = {**os.environ, "HARNESS_CACHE": str(self.folder / "cache")}
        return seconds([sys.executable, "-m", "harness", "compare", path, *where], environment)

    def cells(self) -> dict[str, dict[str, Any]]:
        """Seconds by phase of every finished cell, by the name of its folder."""
        found = self.folder.glob("results/*/cells/*/times.json")
        return {path.parent.name: json.loads(path.read_text()) for path in found if (path.parent / "record.json").exists()}

    def script(self, loss: str) -> float:
        """Seconds of one TRL script on as many pairs."""
        data = self.folder / "trl.jsonl"
        data.write_text("\n".join(self.rows(self.pairs)))
        spec = {"loss": loss, "model": str(self.model), "data": str(data), "batch": self.workload.batch}
        spec["folder"] = str(self.folder / f"trl-{loss}")
        return seconds([sys.executable, "-W", "ignore", "-m", "tests.bench.peer_script", json.dumps(spec)], dict(os.environ))


def seconds(line: Sequence[object], environment: dict[str, str]) -> float:
    """Seconds of a command, or those its processes computed; raises AssertionError with the end of its complaint where it fails."""
    begun = _now()
    paths = {**environment, "PYTHONPATH": str(peak.ROOT)}
    run = subprocess.run([str(word) for word in line], env=paths, cwd=peak.ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, (run.stdout + run.stderr)[-2000:]
    return _now() - begun


def _now() -> float:
    """The clock, or what processes that ended have computed."""
    if CLOCK == "wall":
        return time.perf_counter()
    spent = os.times()
    return spent.children_user + spent.children_system


def measured(grid: Grid, wanted: Mapping[str, tuple[str, Sequence[float]]]) -> dict[str, Any]:
    """Seconds of our grid, of a script of each loss, of all scripts with PPO as our cells took it, and of one more cell."""
    ours, cells = grid.compare(wanted, grid.seeds), grid.cells()
    assert len(cells) == grid.seeds * sum(len(values) for _, values in wanted.values()), "as many runs as scripts are counted"
    scripts = {name: grid.script(LOSSES[name]) for name in wanted if name in LOSSES}
    runs = {name: len(wanted[name][1]) * grid.seeds for name in scripts}
    online = sum(sum(times[CLOCK].values()) for name, times in cells.items() if name.partition("-")[0] not in LOSSES)
    name, value = ADDED
    knob, values = wanted[name]
    again = grid.compare(wanted, grid.seeds)
    added = grid.compare({**wanted, name: (knob, (*values, value))}, seeds=1)
    (new,) = (times for folder, times in grid.cells().items() if folder not in cells)
    return {
        "ours": ours,
        "scripts": scripts,
        "theirs": sum(scripts[name] * runs[name] for name in scripts) + online,
        "online": online,
        "finished": again,
        "added": added,
        "added_cell": new[CLOCK],
        "cells": len(cells),
    }
