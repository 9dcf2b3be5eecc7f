"""Every block of docs/reward-models.md works as printed, in order, where a reader would stand."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner

from harness.cli import app
from tests.judges.folders import tokenizer
from tests.test_readme import FENCE, ROOT

pytestmark = pytest.mark.slow
BLOCKS = FENCE.findall((ROOT / "docs" / "reward-models.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("rewards")
    shutil.copy(ROOT / "tests" / "fixtures" / "tldr_pairs.jsonl", place / "posts.jsonl")
    candidates = next(text for language, text in BLOCKS if language == "json")
    written = (place / "posts.jsonl").read_text(encoding="utf-8") + candidates
    made = tokenizer(tuple(sorted(set(re.findall(r"[^\s\"]+", written)))), eos_token="<eos>", pad_token="<eos>", model_max_length=2048)
    config = LlamaConfig(
        vocab_size=len(made),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        eos_token_id=made.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(place / "my-model", safe_serialization=True)
    made.save_pretrained(place / "my-model")
    (place / "candidates.jsonl").write_text(candidates, encoding="utf-8")
    return place


def test_the_commands_run_and_transformers_gives_the_scores(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    commands = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines()]
    assert len(commands) == 5
    for line in commands:
        found = CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False)
        assert found.exit_code == 0, found.output
    assert {"scores.jsonl", "by-reward.jsonl", "by-ratio.jsonl", "calibration", "reward"} <= {path.name for path in folder.iterdir()}
    assert "FLOPs per prompt" in found.output
    code = next(text for language, text in BLOCKS if language == "python")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder).stdout
    rows = [json.loads(line) for line in (folder / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    score = next(row["score"] for row in rows if row["response"] == "Because light scatters.")
    assert float(re.findall(r"-?[\d.]+(?:e-?\d+)?", said)[-1]) == pytest.approx(score, abs=1e-5)
