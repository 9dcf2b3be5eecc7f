"""A judge that is none of the task's, live: it decides, the fitted one stands beside it, and the report shows both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner

from harness import cli
from harness.commands import asked
from harness.errors import HarnessError
from harness.judges import find
from harness.planning.experiment import study_key
from harness.store import records
from harness.types import Response
from tests.conftest import ROOT
from tests.judges.folders import WORDS, sentiment, tokenizer

NAMES = [f"n{i}" for i in range(120)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled rows, a tiny language model of their words, and a classifier."""
    place = tmp_path_factory.mktemp("world")
    rows = [{"prompt": f"why {name} cat", "chosen": f"because {name} good", "rejected": f"the bad {name} mat"} for name in NAMES]
    (place / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = tokenizer((*WORDS, *NAMES), eos_token="<eos>", pad_token="[PAD]")
    config = LlamaConfig(
        vocab_size=len(made), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=1024
    )
    config.eos_token_id, config.pad_token_id, config.bos_token_id = made.eos_token_id, made.pad_token_id, None
    LlamaForCausalLM(config).save_pretrained(place / "model", safe_serialization=True)
    made.save_pretrained(place / "model")
    sentiment(place / "films")
    return place


def flags(world: Path, judge: str) -> list[str]:
    place = ["--task", "tldr", "--data", str(world / "pairs.jsonl"), "--model", str(world / "model"), "--judge", judge]
    return ["compare", *place, "--algorithms", "dpo", "--set", "dpo.beta=0.1", "--limit", "24", "--temperatures", "0"]


@pytest.mark.slow
def test_a_classifier_decides_and_the_fitted_judge_stands_beside_it(world: Path, tmp_path: Path) -> None:
    word = f"{world / 'films'}#POSITIVE"
    line = [sys.executable, "-m", "harness", *flags(world, word), "--results", str(tmp_path)]
    done = subprocess.run(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = records.studies(tmp_path)
    study = records.read(folder)
    judge = find.scored(word, {})
    for cell in (*study.cells, *study.references):
        found = cell.record["judge"]
        assert (found["primary"], found["others"]) == (judge.column, ["judge"])
        assert (found["brought"]["name"], found["brought"]["reads"]) == ("films#POSITIVE", "response")
        assert found["lineage"][judge.column]["weights"] == judge.column
        rows = [row for row in cell.samples() if row.get("slice") == "evaluation"]
        again = judge.score([row["prompt"] for row in rows], [Response(row["response"]) for row in rows])
        assert [row[judge.column] for row in rows] == pytest.approx(again.tolist(), abs=2e-4)
        assert {"win_sft", "win_sft_judge"} <= cell.record["checkpoints"][-1]["metrics"].keys()
    page = (folder / "report" / "index.html").read_text()
    assert judge.column in page
    before = study.cells[0].record
    config = world / "films" / "config.json"
    written = config.read_text()
    config.write_text(f"{written}\n")  # another folder now, which a note beside the weights would not make it
    find.weights_hash.cache_clear()
    try:
        assert find.scored(word, {}).column != judge.column
        assert before["study"] != key(world, word)
    finally:
        config.write_text(written)
        find.weights_hash.cache_clear()


def key(world: Path, judge: str | None) -> str:
    given: dict[str, Any] = {"task": "tldr", "data": str(world / "pairs.jsonl"), "model": str(world / "model")}
    resolved, _ = asked.resolve(given | ({"judge": judge} if judge else {}), None)
    return study_key(resolved)


@pytest.mark.slow
def test_judges_are_studies_of_their_own_and_a_path_as_typed_is_none(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = f"{world / 'films'}#POSITIVE"
    keys = {judge: key(world, judge) for judge in (None, "judge", "length", word, f"{world / 'films'}#NEGATIVE", f"{word}+prompt")}
    assert keys.pop("judge") == keys[None]
    assert len(set(keys.values())) == len(keys)
    monkeypatch.chdir(world)
    assert key(world, "./films#POSITIVE") == keys[word]


def test_a_judge_in_an_experiment_file_is_beside_the_file(world: Path) -> None:
    file = world / "experiment.toml"
    file.write_text('task = "tldr"\ndata = "./pairs.jsonl"\nmodel = "./model"\njudge = "./films#POSITIVE"\n')
    resolved, _ = asked.resolve({}, file)
    assert resolved.judge == find.scored(f"{world / 'films'}#POSITIVE", {}).column
    file.write_text('task = "tldr"\ndata = "./pairs.jsonl"\nmodel = "./model"\njudge = "length"\n')
    assert asked.resolve({}, file)[0].judge == find.scored("length", {}).column


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ("http://localhost:8000/v1", "a URL judges stored samples only: leave it out, then run 'harness judge RESULTS --judge URL'"),
        ("rouge", "every run records it as rouge_l"),
        ("lenght", r"Unknown judge 'lenght'\. Did you mean 'length'\? This task has: judge"),
        ("{world}/films", "it has 2 labels; name the one that is better"),
        ("{world}/model", "holds LlamaForCausalLM, no sequence classifier"),
        ("{world}/nothing", "no such name or folder"),
    ],
)
def test_what_cannot_judge_live_is_one_line_before_anything_runs(judge: str, said: str, world: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, [*flags(world, judge.format(world=world)), "--results", str(tmp_path / "r")])
    assert isinstance(result.exception, HarnessError)
    assert "\n" not in str(result.exception)
    with pytest.raises(HarnessError, match=said):
        raise result.exception
    assert not (tmp_path / "r").exists()


def test_a_task_with_gold_is_judged_by_it() -> None:
    with pytest.raises(HarnessError, match=r"judge 'length': this task is judged by its own gold, gold_b; others judge stored samples"):
        asked.resolve({"task": "tldr", "judge": "length"}, None)
