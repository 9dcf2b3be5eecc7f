"""A tuned comparison on a tiny budget, start to page: trials on tuning prompts, winners that run, a kept checkpoint, nothing done twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.store import records

ROOT = Path(__file__).parents[1]
EXPERIMENT = """
task = "tldr"
model = "tiny-64"
sft_steps = 60
pairs = 128
tuning_pairs = 96
evaluation_prompts = 32
mark_prompts = 16
tuning_prompts = 16
probe_prompts = 16
frontier_samples = 8
opponent_samples = 2
marks = [0.5]
checkpoint = "best"
tune = 1
kl_targets = [0.3]

[algorithms.dpo]
beta = [4.0, 0.7]
"""


def compare(folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_CACHE": str(folder / "cache")}
    line = [sys.executable, "-m", "harness", "compare", "experiment.toml", "--results", "results", "--jobs", "1"]
    run = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800, check=False)
    assert run.returncode == 0, run.stderr
    return run.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tuned")
    (path / "experiment.toml").write_text(EXPERIMENT)
    compare(path)
    return path


def study(folder: Path) -> records.Study:
    return records.read(records.studies(folder / "results")[0])


@pytest.mark.slow
def test_trials_stand_apart_and_are_measured_on_tuning_prompts_alone(folder: Path) -> None:
    found = study(folder)
    evaluation = {row["prompt"] for cell in found.cells for row in cell.samples() if row["slice"] == "evaluation"}
    tuning = {row["prompt"] for trial in found.trials for row in trial.samples() if row["slice"] == "evaluation"}
    assert len(tuning) == 16
    assert evaluation.isdisjoint(tuning)
    assert all("tuning_score" in trial.record["checkpoints"][-1]["metrics"] for trial in found.trials)
    drawn = [trial for trial in found.trials if "index" in trial.record["trial_of"]]
    assert len(drawn) == 4  # two grid values, each with its default and one drawn point
    assert all(not (trial.folder / "policy").exists() for trial in found.trials)


@pytest.mark.slow
def test_the_cells_run_what_tuning_chose_within_their_own_budget(folder: Path) -> None:
    found = study(folder)
    fingerprints = {trial.record["fingerprint"] for trial in found.trials}
    budget = found.experiment["budget_flops"]
    for cell in found.cells:
        assert cell.record["tuned"]
        assert cell.record["tuning"]["trial"] in fingerprints
        assert cell.record["tuning"]["targets"][0]["target"] == 0.3
        spent = sum(cell.record["compute"]["canonical"].get(phase, 0.0) for phase in ("reward", "rollout", "reference", "update"))
        assert spent <= 1.01 * budget
        assert cell.record["compute"]["canonical"]["tuning"] > 0


@pytest.mark.slow
def test_the_checkpoint_rule_is_recorded_and_a_kept_mark_is_measured(folder: Path) -> None:
    for cell in study(folder).cells:
        rule, final = cell.record["checkpoint"], [each["mark"] for each in cell.record["checkpoints"] if each["final"]]
        assert [each["mark"] for each in rule["scores"]] == [0.5, 1.0]
        assert final == ([1.0] if rule["best"] == 1.0 else [1.0, 2.0])


@pytest.mark.slow
def test_a_second_run_runs_no_trial_and_no_cell(folder: Path) -> None:
    found = study(folder)
    before = {each.folder: (each.folder / records.RECORD).stat().st_mtime_ns for each in (*found.cells, *found.trials)}
    assert compare(folder) == ""
    after = study(folder)
    assert {each.folder: (each.folder / records.RECORD).stat().st_mtime_ns for each in (*after.cells, *after.trials)} == before
    assert ">Tuning</h2>" in (after.folder / "report" / "index.html").read_text()
