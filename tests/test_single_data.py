"""Data that label responses one by one, from the line that is typed to the record: what is refused, what it costs, what is recorded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.commands.asked import resolve
from harness.errors import HarnessError
from harness.planning.budget import budgets
from harness.planning.experiment import Experiment
from harness.planning.price import pair_forward
from harness.store import records
from harness.training.ledger import Shape
from tests.conftest import ROOT

SHAPE = Shape(blocks=1000, head=100, layers=2, width=16)


def rows() -> list[dict[str, Any]]:
    """192 responses to 160 prompts, one or two to each, all of a prompt with one label; two thirds are desirable."""
    found = []
    for i in range(160):
        good = i % 3 != 0
        for k in range(1 + (i % 5 == 0)):
            said = (("A cat sleeps", "The cat rests") if good else ("A dog barks", "No dog here"))[k]
            found.append({"prompt": f"Post {i} on a cat.\n\nTL;DR:", "completion": f"{said} {i}.", "label": good})
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "labelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    return path


def resolved(data: Path, *algorithms: str, **flags: Any) -> Experiment:
    named = {"task": "tldr", "data": str(data), "model": "tiny-64", "algorithms": list(algorithms), **flags}
    return resolve(named, None)[0]


def test_what_needs_pairs_is_refused_with_what_can_run(data: Path) -> None:
    with pytest.raises(HarnessError) as caught:
        resolved(data, "kto", "dpo", "ppo", "plackett_luce")
    assert str(caught.value) == (
        "these data label responses one by one, and dpo needs pairs; ppo needs pairs for its reward model; plackett_luce needs rankings "
        "or pairs. Algorithms that can run on them: bco, kto, prompted, sft_chosen, trl_kto."
    )


def test_labels_of_another_kind_cannot_be_asked_for(data: Path) -> None:
    with pytest.raises(HarnessError, match="labels 'bt': this data brings its own labelled responses"):
        resolved(data, "kto", labels="bt")


def test_an_epoch_is_priced_as_a_loss_per_response(data: Path) -> None:
    """Two passes of forward and backward and one of the reference: 7 forwards of a prompt with one response, for each of 62."""
    experiment = resolved(data, "kto")
    assert (experiment.single, experiment.pairs) == (True, 62)
    (found,) = budgets(experiment, SHAPE, (20.0, 10.0)).values()
    assert found.flops == pytest.approx(62 * 7 * pair_forward(SHAPE, (20.0, 10.0), responses=1))
    (counted,) = budgets(resolved(data, "kto", budget="2epochs", match="pairs"), SHAPE, (20.0, 10.0)).values()
    assert counted.limit == 62  # two responses are one pair


GRID: dict[str, Any] = {
    "task": "tldr",
    "model": "./model",
    "data": "./labelled.jsonl",
    "algorithms": ["kto", "bco", "sft_chosen"],
    "quick": True,
    "seeds": [0],
    "marks": [],
    "sft": "chosen",
    "sft_steps": 4,
    "evaluation_prompts": 12,
    "mark_prompts": 4,
    "frontier_samples": 0,
    "keep_policies": "none",
    "opponent_samples": 1,
    "temperatures": [0.0],
}


def made_model(place: Path, texts: Iterable[str]) -> Path:
    """A tiny model over the words of these texts."""
    from harness.models.storage import save_model
    from harness.models.tiny import SPECIAL, tiny_model, tiny_tokenizer

    words = (*SPECIAL, *sorted({word for text in texts for word in text.split()}))
    save_model(place, tiny_model("tiny-64", words, 0), tiny_tokenizer(words))
    return place


@pytest.mark.parametrize(("good", "left"), [(False, "undesirable"), (True, "desirable")])
def test_labels_of_one_kind_that_are_all_too_long_are_one_line(tmp_path: Path, good: bool, left: str) -> None:
    """The data have both labels; of one kind no response is short enough to be kept, which only the tokens show."""
    from harness.running.stages import shared

    longer = [{**row, "completion": row["completion"] + " cat" * 200 * (row["label"] is good)} for row in rows()]
    place = tmp_path / "longer.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in longer), encoding="utf-8")
    model = made_model(tmp_path / "model", [text for row in longer for text in (row["prompt"], row["completion"])])
    experiment = resolved(place, "kto", model=str(model), sft="none")
    with pytest.raises(HarnessError, match=f"of \\d+ labelled responses no {left} one is left: .*labelled responses: response too long"):
        shared(experiment, 0, lambda *_: None)


@pytest.mark.slow
def test_a_grid_on_labels_alone(data: Path, tmp_path: Path) -> None:
    """BCO costs what the budget is priced by, so it makes its two passes of 62 responses; every one of the 62 labels is bought once."""
    made_model(tmp_path / "model", [text for row in rows() for text in (row["prompt"], row["completion"])])
    (tmp_path / "experiment.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in GRID.items()))
    line = [sys.executable, "-m", "harness", "compare", "experiment.toml", "--results", "results", "--jobs", "1"]
    done = subprocess.run(
        line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    study = records.read(records.studies(tmp_path / "results")[0])
    found = {cell.record["algorithm"]["name"]: cell.record for cell in study.cells}
    counts = found["bco"]["compute"]["counts"]
    assert (counts["labels"], counts["pairs"], counts["epochs"]) == (62, 62, pytest.approx(2))
    assert 1 < found["kto"]["compute"]["counts"]["epochs"] < 2
    for record in found.values():
        metrics = record["checkpoints"][-1]["metrics"]
        assert metrics["heldout_label_accuracy"]["n"] == 12
        assert not {"preference_accuracy", "heldout_gap", "heldout_chosen"} & {*metrics}
        assert record["assumptions"]["labels"] == "single"
    (reference,) = study.references
    quality = reference.record["diagnostics"]["judge"]
    assert quality.keys() == {"reward_auc", "reward_heldout_responses"}
    area = quality["reward_auc"]
    assert 0 <= area["lower"] <= area["value"] <= area["upper"] <= 1 and 1 < area["n"] <= quality["reward_heldout_responses"]
    assert reference.record["checkpoints"][-1]["metrics"]["heldout_label_accuracy"]["value"] == 0.5  # it has not moved
    page = (study.folder / "report" / "index.html").read_text(encoding="utf-8")
    bounds = f"[{area['lower']:.3f}, {area['upper']:.3f}]"
    said = re.search("reward auc of the judge</td><td>(.*?)</td>", page)
    assert said is not None and bounds in said[1] and f"n={area['n']}" in said[1]
