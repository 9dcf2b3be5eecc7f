"""An adapter over a real pretrained model, from a run that keeps it to a pipeline of transformers and to ``harness evaluate``.

Run with HARNESS_TEST_MODEL=FOLDER, a small language model with a chat template; skipped without.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.checkpoints import base_of, is_adapter
from harness.store import records

ROOT = Path(__file__).parents[1]
MODEL = "HARNESS_TEST_MODEL"
EXPERIMENT = """
task = "hh"
data = "dialogues.jsonl"
reference_mode = "adapter-off"
chat = "template"
sft = "none"
limit = 3
pairs = 2
batch_pairs = 2
budget = "2steps"
marks = []
temperatures = []
evaluation_prompts = 3
mark_prompts = 2
opponent_samples = 1
frontier_samples = 0
stage_threads = 1
keep_policies = "final"

[algorithms.dpo]
beta = 0.1
learning_rate = 1e-3
"""


@pytest.fixture(scope="module")
def model() -> Path:
    folder = Path(os.environ.get(MODEL, ""))
    if not (folder / "config.json").is_file():
        pytest.skip(f"{MODEL} names no folder of a language model with a chat template")
    return folder.resolve()


def dialogues(path: Path) -> None:
    """Enough dialogues for every split, told apart by a number."""
    rows = [
        {
            "chosen": f"\n\nHuman: What is {n} plus one?\n\nAssistant: It is {n + 1}.",
            "rejected": f"\n\nHuman: What is {n} plus one?\n\nAssistant: Nobody knows what {n} is.",
        }
        for n in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def ran(folder: Path, *arguments: object) -> str:
    """What a command said; it must have done what it was asked."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_CACHE": str(folder / "cache")}
    line = [sys.executable, "-m", "harness", *map(str, arguments)]
    run = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=3000, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def final(study: Path, name: str) -> dict[str, dict[str, float]]:
    (cell,) = [each for each in records.read(study).cells if each.record["algorithm"]["name"] == name]
    found: dict[str, dict[str, float]] = cell.record["checkpoints"][-1]["metrics"]
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_adapter_over_a_pretrained_model_is_kept_loaded_and_measured_from_outside(model: Path, tmp_path: Path) -> None:
    """The policy that a pipeline loads says something; measured from outside its KL is the run's, to what merging leaves in float32."""
    from transformers import pipeline

    dialogues(tmp_path / "dialogues.jsonl")
    (tmp_path / "e.toml").write_text(EXPERIMENT)
    ran(tmp_path, "compare", "e.toml", "--model", model, "--results", "results", "--jobs", 1)
    (study,) = records.studies(tmp_path / "results")
    (cell,) = records.read(study).cells
    policy = cell.folder / records.POLICY
    assert cell.record["status"] == "finished"
    assert is_adapter(policy)
    assert base_of(policy) == model  # and no copy of it in the cache
    shutil.rmtree(tmp_path / "cache")
    say = pipeline("text-generation", model=str(policy), device="cpu")
    (said,) = say([{"role": "user", "content": "What is 3 plus one?"}], max_new_tokens=8, do_sample=False)
    assert said["generated_text"][-1]["role"] == "assistant"
    assert said["generated_text"][-1]["content"].strip()
    ran(tmp_path, "evaluate", "--model", policy, "--as", "visitor", "--task", "hh", "--results", "results")
    own, visitor = final(study, "dpo"), final(study, "visitor")
    assert own["kl"]["value"] > 1e-4  # it moved
    assert visitor["kl"]["value"] == pytest.approx(own["kl"]["value"], rel=0.05)
    assert visitor["kl"]["n"] == own["kl"]["n"]
