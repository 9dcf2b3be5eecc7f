"""A policy that diverges is a result, not a failure: it is recorded as such, wherever it is found out, and the grid goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.models.sampling import draw
from harness.store import records

ROOT = Path(__file__).parents[1]

EXPERIMENT = """
task = "tldr"
model = "tiny-64"
sft_steps = 4
pairs = 64
evaluation_prompts = 8
mark_prompts = 4
probe_prompts = 4
marks = []
frontier_samples = 4
opponent_samples = 2
keep_policies = "none"

[algorithms.ppo]
kl_coef = 0.2
learning_rate = 1e38
minibatches = [1, 6]

[algorithms.dpo]
beta = 0.5
"""


def test_probabilities_that_are_no_numbers_are_a_divergence() -> None:
    with pytest.raises(FloatingPointError, match="not numbers"):
        draw(torch.full((2, 3), torch.nan), 1.0, torch.zeros(2, dtype=torch.float64))
    token, _ = draw(torch.tensor([[0.0, -torch.inf]]), 1.0, torch.full((1,), 1 - 2**-53, dtype=torch.float64))
    assert token.tolist() == [0]


@pytest.mark.slow
def test_a_diverging_ppo_is_recorded_and_the_grid_goes_on(tmp_path: Path) -> None:
    """With six minibatches a loss of the second finds out; with one the next rollout does, and both leave DPO to finish."""
    (tmp_path / "experiment.toml").write_text(EXPERIMENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_CACHE": str(tmp_path / "cache")}
    line = [sys.executable, "-m", "harness", "compare", "experiment.toml", "--results", "results", "--jobs", "1"]
    run = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode == 0, run.stderr
    study = records.read(records.studies(tmp_path / "results")[0])
    status: dict[tuple[str, Any], str] = {}
    for cell in study.cells:
        status[cell.record["algorithm"]["name"], cell.record["setting"].get("minibatches")] = cell.record["status"]
    assert {key: value for key, value in status.items() if key[0] == "ppo"}.keys() == {("ppo", 1), ("ppo", 6)}
    assert {value for key, value in status.items() if key[0] == "ppo"} == {"diverged"}
    assert status["dpo", None] == "finished"
    page = (study.folder / "report" / "index.html").read_text()
    assert "not finite at step" in page and "not numbers" in page
    assert "2 diverged, 0 failed" in page
    assert json.loads((study.folder / "experiment.json").read_text())["task"] == "tldr"
