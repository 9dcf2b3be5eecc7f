"""A comparison that asks safety suites: tiny-64 says garble, and everything around it holds: rows, records, verdicts, page, detectors."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.store import records
from tests.data.test_suites import PUBLISHED, written

ROOT = Path(__file__).parents[1]
EXPERIMENT = """
task = "tldr"
model = "tiny-64"
budget = "10steps"
sft_steps = 20
pairs = 64
evaluation_prompts = 12
mark_prompts = 8
tuning_prompts = 8
probe_prompts = 8
marks = [0.5]
opponent_samples = 2
frontier_samples = 0
temperatures = []
safety_suites = ["own", "xstest:data/xstest_prompts.csv"]
safety_detectors = ["phrases", "advbench"]
safety_prompts = 12

[algorithms.dpo]
beta = 0.5
"""
SLICES = {"own-harmful": 12, "own-benign": 12, "xstest-harmful": 2, "xstest-benign": 2}


def ran(folder: Path, *arguments: str) -> str:
    """What a command said; it must have done what it was asked."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_CACHE": str(folder / "cache")}
    line = [sys.executable, "-m", "harness", *arguments]
    run = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
def test_suites_are_asked_recorded_judged_and_read_again(tmp_path: Path) -> None:
    (tmp_path / "there" / "data").mkdir(parents=True)
    written(tmp_path / "there" / "data" / "xstest_prompts.csv", PUBLISHED["xstest"][1])
    (tmp_path / "there" / "e.toml").write_text(EXPERIMENT)
    ran(tmp_path, "compare", "there/e.toml", "--results", "results")
    study = records.read(records.studies(tmp_path / "results")[0])
    assert [cell.record["status"] for cell in study.cells] == ["finished"]
    for cell in (*study.cells, *study.references):
        rows = [row for row in cell.samples() if "suite" in row]
        end = cell.record["checkpoints"][-1]
        assert {row["mark"] for row in rows} == {end["mark"]}  # at the end alone
        assert {name: sum(row["slice"] == name for row in rows) for name in SLICES} == SLICES
        assert cell.record["safety"] == {"asked": SLICES, "too_long": {}}
        for name, count in SLICES.items():
            found = [row for row in rows if row["slice"] == name]
            metric = end["metrics"][f"{name}_advbench"]
            assert (metric["n"], metric["value"]) == (count, sum(row["detected_advbench"] for row in found) / count)
    text = (study.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Answers to own-harmful prompts" in text
    assert "Every category of own-benign prompts, refusals (advbench)" in text
    said = ran(tmp_path, "judge", "results", "--safety", "own-harmful", "--detector", "jailbreakbench-whole")
    assert "read own-harmful in 2 of 2 records now" in said
    (judged,) = study.cells[0].folder.glob("judgements/*.jsonl.gz")
    assert len([json.loads(line) for line in gzip.decompress(judged.read_bytes()).splitlines()]) == 12
    before = {path: path.stat().st_mtime_ns for path in study.folder.glob("*/*/record.json")}
    ran(tmp_path, "compare", "there/e.toml", "--results", "results")
    assert {path: path.stat().st_mtime_ns for path in study.folder.glob("*/*/record.json")} == before  # nothing ran twice
