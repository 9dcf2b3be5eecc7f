"""The whole line on a small budget: something is learned, nothing is fetched, nothing is done twice, and a seed repeats to the byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.store import records

ROOT = Path(__file__).parents[1]

EXPERIMENT = """
task = "tldr"
model = "tiny-64"
sft_steps = 200
pairs = 400
evaluation_prompts = 96
mark_prompts = 48
probe_prompts = 48
marks = [0.5]
frontier_samples = 16

[algorithms.dpo]
beta = 0.5

[algorithms."./mine.py"]
delta = 3.0
"""

MINE = '''"""A hinge on the gap of policy log-probs, without a reference."""

from torch import Tensor

from harness import preference_loss


@preference_loss
def algorithm(chosen: Tensor, rejected: Tensor, *, delta: float = 1.0) -> Tensor:
    """max(0, delta - log pi(y_w) + log pi(y_l)) per pair."""
    return (delta - chosen + rejected).relu()
'''

# Imported by every Python process that finds it on its path: no test run may reach for a network.
NO_SOCKET = """
import os, socket

def refuse(self, address, *rest):
    open(os.environ["SOCKET_LOG"], "a").write(f"{address}\\n")
    raise OSError("this run may not open a socket")

_connect = socket.socket.connect
socket.socket.connect = lambda self, address: _connect(self, address) if self.family == socket.AF_UNIX else refuse(self, address)
"""


class Line:
    """A folder in which ``harness compare`` is run as a user would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sitecustomize.py").write_text(NO_SOCKET)
        (folder / "experiment.toml").write_text(EXPERIMENT)
        (folder / "mine.py").write_text(MINE)

    def compare(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": f"{self.folder}:{ROOT}", "HARNESS_CACHE": str(self.folder / "cache")}
        environment["SOCKET_LOG"] = str(self.folder / "sockets")
        line = [sys.executable, "-m", "harness", "compare", "experiment.toml", "--results", "results", *arguments]
        run = subprocess.run(line, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=900, check=False)
        assert run.returncode == 0, run.stderr
        return run

    def study(self) -> records.Study:
        return records.read(records.studies(self.folder / "results")[0])

    def written(self) -> dict[Path, int]:
        """When the record of every cell was written."""
        return {cell.folder: (cell.folder / records.RECORD).stat().st_mtime_ns for cell in self.study().cells}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = Line(tmp_path_factory.mktemp("line"))
    folder.first = folder.compare()  # type: ignore[attr-defined]
    return folder


def final(cell: records.Cell) -> dict[str, Any]:
    return dict(cell.record["checkpoints"][-1]["metrics"])


def cell_of(study: records.Study, name: str) -> records.Cell:
    return next(c for c in study.cells if c.record["algorithm"]["name"] == name)


def test_both_cells_and_the_reference_are_finished_and_a_page_stands(line: Line) -> None:
    study = line.study()
    assert {c.record["status"] for c in study.cells} == {"finished"}
    assert {c.record["algorithm"]["name"] for c in study.cells} == {"dpo", "mine"}
    assert len(study.references) == 1
    assert (study.folder / "report" / "index.html").stat().st_size > 10_000


def test_the_policies_learn_the_preference_and_beat_what_they_started_from(line: Line) -> None:
    study = line.study()
    dpo = final(cell_of(study, "dpo"))
    assert dpo["win_sft"]["lower"] > 0.5
    assert dpo["preference_accuracy"]["lower"] > 0.5
    assert dpo["gold"]["value"] > final(study.references[0])["gold"]["value"]
    assert dpo["kl"]["lower"] > 0.05


def test_on_the_way_safety_prompts_are_not_answered_and_half_as_many_pairs_ranked(line: Line) -> None:
    way, end = (dict(each["metrics"]) for each in cell_of(line.study(), "dpo").record["checkpoints"])
    assert (way["win_sft"]["n"], way["refusal_mass"]["n"], way["preference_accuracy"]["n"]) == (48, 24, 24)
    assert set(end) - set(way) == {name for name in end if name.startswith(("harmful_", "borderline_"))} != set()


def test_the_reference_is_at_kl_zero_and_ties_with_itself(line: Line) -> None:
    reference = final(line.study().references[0])
    assert abs(reference["kl"]["value"]) < 1e-5
    assert reference["win_sft"]["lower"] <= 0.5 <= reference["win_sft"]["upper"]
    assert reference["refusal_mass_delta"]["value"] == pytest.approx(0.0, abs=1e-6)


def test_compute_is_matched_and_a_loss_without_a_reference_pays_for_none(line: Line) -> None:
    study = line.study()
    spent = {c.record["algorithm"]["name"]: c.record["compute"]["canonical"] for c in study.cells}
    budget = study.experiment["budget_flops"]
    for canonical in spent.values():
        total = sum(canonical.get(phase, 0.0) for phase in ("reward", "rollout", "reference", "update"))
        assert 0.98 * budget < total <= 1.01 * budget
    assert spent["dpo"]["reference"] > 0
    assert spent["mine"].get("reference", 0.0) == 0.0


def test_records_say_what_was_assumed_and_where_judge_and_reward_come_from(line: Line) -> None:
    for cell in line.study().cells:
        judge, reward = cell.record["judge"], cell.record["reward"]
        assert (judge["primary"], judge["others"]) == ("gold", ["gold_b"])
        assert judge["lineage"]["gold"]["weights"].startswith("gold of tldr, version ")
        assert reward["labeller"] == judge["lineage"]["gold"]["labeller"] == "gold of tldr"
        assert (cell.record["assumptions"]["labels"], cell.record["assumptions"]["pairs_from"]) == ("bt", "sft")
        assert final(cell)["win_sft_gold_b"]["n"] == final(cell)["win_sft"]["n"]
        assert final(cell)["win_sft_gold_b"]["value"] != final(cell)["win_sft"]["value"]


def test_no_process_reached_for_a_network(line: Line) -> None:
    """And the trap is set: a process with the same path that does reach for one is caught."""
    assert not (line.folder / "sockets").exists()
    environment = {**os.environ, "PYTHONPATH": str(line.folder), "SOCKET_LOG": str(line.folder / "caught")}
    script = "import socket; socket.socket().connect(('127.0.0.1', 9))"
    caught = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "may not open a socket" in caught.stderr
    assert (line.folder / "caught").read_text() == "('127.0.0.1', 9)\n"


def test_the_same_comparison_from_python_runs_nothing_again_and_gives_its_rows(line: Line) -> None:
    before = line.written()
    code = "import harness; rows = harness.compare('experiment.toml', results='results').rows; print(*(row['algorithm'] for row in rows))"
    environment = {**os.environ, "PYTHONPATH": f"{line.folder}:{ROOT}", "HARNESS_CACHE": str(line.folder / "cache")}
    environment["SOCKET_LOG"] = str(line.folder / "sockets")
    run = subprocess.run([sys.executable, "-c", code], cwd=line.folder, env=environment, capture_output=True, text=True, check=False)
    assert run.stdout.splitlines()[-1].split() == ["dpo", "mine"], run.stderr
    assert line.written() == before


def test_an_edited_loss_runs_alone(line: Line) -> None:
    before = line.written()
    (line.folder / "mine.py").write_text(MINE.replace("delta: float = 1.0", "delta: float = 2.0"))
    said = line.compare().stdout
    (line.folder / "mine.py").write_text(MINE)
    study = line.study()
    assert "mine changed: " in said
    assert len(study.cells) == 2
    assert line.written()[cell_of(study, "dpo").folder] == before[cell_of(study, "dpo").folder]
    assert cell_of(study, "mine").folder not in before
    superseded = [p for p in (study.folder / "cells").iterdir() if json.loads((p / records.RECORD).read_text()).get("superseded")]
    assert len(superseded) == 1


def test_the_same_seed_gives_the_same_record_byte_for_byte(line: Line) -> None:
    folder = cell_of(line.study(), "dpo").folder
    names = (records.RECORD, records.METRICS, records.SAMPLES)
    before = {name: (folder / name).read_bytes() for name in names}
    line.compare("--algorithms", "dpo", "--set", "dpo.beta=0.5", "--force")
    assert {name: (folder / name).read_bytes() for name in names} == before
