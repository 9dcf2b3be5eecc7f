"""Data that rank four responses to a prompt, from the file to the record: pair losses read every two, list losses each ranking whole."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.store import records
from tests.conftest import ROOT

SAID = ("A cat sleeps all day.", "A cat sleeps.", "A dog barks.", "No.")
GRID: dict[str, Any] = {
    "task": "tldr",
    "model": "./model",
    "data": "./ranked.jsonl",
    "algorithms": ["plackett_luce"],
    "quick": True,
    "seeds": [0],
    "budget": "1epochs",
    "marks": [],
    "sft_steps": 4,
    "batch_pairs": 16,
    "evaluation_prompts": 12,
    "mark_prompts": 4,
    "probe_prompts": 4,
    "frontier_samples": 0,
    "keep_policies": "none",
    "opponent_samples": 1,
    "temperatures": [0.0],
}


@pytest.mark.slow
def test_a_grid_on_rankings_gives_lists_whole(tmp_path: Path) -> None:
    """An epoch of DPO's FLOPs is five of a list loss: DPO reads 12 responses of a prompt and six times the prompt, a list loss 4 and one.

    Batches of 16 comparisons are three lists of six, and each of the 240 comparisons that are trained on is bought once.
    """
    from harness.models.storage import save_model
    from harness.models.tiny import SPECIAL, tiny_model, tiny_tokenizer

    rows = [{"prompt": f"Post {i} on a cat.\n\nTL;DR:", "ranking": [f"{said} {i}" for said in SAID]} for i in range(120)]
    words = (*SPECIAL, *sorted({word for row in rows for text in (row["prompt"], *row["ranking"]) for word in text.split()}))
    save_model(tmp_path / "model", tiny_model("tiny-64", words, 0), tiny_tokenizer(words))
    (tmp_path / "ranked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "experiment.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in GRID.items()))
    line = [sys.executable, "-m", "harness", "compare", "experiment.toml", "--results", "results", "--jobs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (cell,) = records.read(records.studies(tmp_path / "results")[0]).cells
    counts = cell.record["compute"]["counts"]
    assert (counts["labels"], counts["unique_pairs"], counts["unique_prompts"]) == (240, 240, 40)
    first, *_ = map(json.loads, (cell.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    assert first["epoch"] == 18 / 240
    assert first["loss"] == pytest.approx(math.log(24), abs=1e-5)  # of 4! orders at the reference
    assert counts["epochs"] > 4
    held = [row for row in cell.samples() if row["slice"] == "heldout"]
    prompts = {row["prompt_id"] for row in held}
    assert (len(prompts), len(held)) == (12, 72)  # the six comparisons of each
    assert cell.record["checkpoints"][-1]["metrics"]["preference_accuracy"]["n"] == 12
    (reference,) = records.read(records.studies(tmp_path / "results")[0]).references
    quality = reference.record["diagnostics"]["judge"]
    assert quality["reward_heldout_pairs"] == 6 * quality["reward_heldout_prompts"]
    page = (cell.folder.parents[1] / "report" / "index.html").read_text(encoding="utf-8")
    assert "Intervals over prompts, n prompts" in page and "duplicated" not in page
