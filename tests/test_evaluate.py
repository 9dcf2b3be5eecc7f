"""A checkpoint trained elsewhere: the same numbers as the run that made it, its cost declared or unknown, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.data.shapes import shape
from harness.errors import HarnessError
from harness.outside import elsewhere
from harness.outside.elsewhere import Declared
from harness.outside.visitor import measure_visitor
from harness.planning.budget import budgets
from harness.planning.experiment import Experiment, cells, fingerprint, study_key
from harness.plugins import registry
from harness.report import matching
from harness.report.points import load
from harness.running.cell import Plan, run_cell
from harness.store import records
from tests.report import synthetic
from tests.test_kept import experiment, silent, world


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A study of one run in this process; jobs run here as well, one after another, so that the task is read once."""
    root = tmp_path_factory.mktemp("evaluate")

    def in_process(experiment: Experiment, todo: Any, workers: int, verbose: bool) -> None:
        for job in todo:
            job.function(*job.arguments, silent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(root / "cache"))
        patch.setattr("harness.running.stages.load_task", lambda _: world())
        patch.setattr(elsewhere.engine, "execute", in_process)
        small = experiment(root)
        folder = root / "results" / f"tldr-{study_key(small)[:8]}"
        cell = next(cells(small))
        spending = budgets(small, shape(small.model, len(world().vocabulary)), world().typical_tokens)
        facts = {"fingerprint": fingerprint(small), "study": study_key(small), "plan": {"algorithms": ["dpo"], "seeds": [0]}}
        records.write_json(folder / "experiment.json", {**small.model_dump(mode="json"), **facts})
        assert run_cell(Plan(small, cell, spending[cell.budget], folder / "cells" / "dpo-seed0-00000000"), silent) == "finished"
        yield folder


@pytest.fixture
def model(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study / "cells" / "dpo-seed0-00000000" / records.POLICY, tmp_path / "checkpoint"))


def cell_of(study: Path, name: str) -> records.Cell:
    return next(each for each in records.read(study).cells if each.record["algorithm"]["name"] == name)


def test_a_kept_policy_measured_from_outside_is_what_its_run_recorded(study: Path, model: Path) -> None:
    assert elsewhere.evaluate(model, "visitor", "tldr", study.parent) == study
    own, visitor = cell_of(study, "dpo"), cell_of(study, "visitor")
    assert visitor.record["checkpoints"][-1]["metrics"] == own.record["checkpoints"][-1]["metrics"]
    assert visitor.samples() == [row for row in own.samples() if row["mark"] == 1.0]
    assert len(records.read(study).references) == 1  # measured on the way
    assert records.read(study).skipped == ()


def test_unknown_compute_is_said_and_given_compute_is_shown(study: Path, model: Path) -> None:
    elsewhere.evaluate(model, "visitor", "tldr", study.parent)
    loaded = load(study)
    assert matching.matching(loaded.points) == "Compute is not compared: what visitor spent is unknown."
    text = synthetic.text(loaded)
    assert "what visitor spent is unknown" in text
    assert "ompute is matched" not in text
    assert ">nan<" not in text
    spent = cell_of(study, "dpo").record["budget"]["limit"]
    given = Declared(flops=spent, device_hours=2.0, device="cpu")
    elsewhere.evaluate(model, "visitor", "tldr", study.parent, declared=given)
    visitor = cell_of(study, "visitor")
    assert visitor.record["compute"]["canonical"] == {"update": spent}
    assert visitor.times["wall"] == {"update": 7200.0}
    assert matching.matching(load(study).points).startswith("Compute is matched")


def test_what_was_measured_under_the_same_declaration_is_not_measured_again(
    study: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.evaluate(model, "again", "tldr", study)
    monkeypatch.setattr(elsewhere.engine, "execute", lambda *_: pytest.fail("measured again"))
    elsewhere.evaluate(model, "again", "tldr", study)


def test_a_comparison_with_a_checkpoint_that_joined_later_is_exploratory(study: Path, model: Path) -> None:
    from harness.report import comparing

    elsewhere.evaluate(model, "late", "tldr", study.parent)
    loaded = load(study)
    compared = {each.name: each for each in comparing.comparisons(loaded, loaded.points)}
    assert compared["late"].exploratory
    assert compared["late"].verdict is None


def edited(file: Path, change: Any) -> None:
    value = json.loads(file.read_text(encoding="utf-8"))
    change(value)
    file.write_text(json.dumps(value), encoding="utf-8")


def test_another_vocabulary_is_one_line_before_anything_runs(study: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere.engine, "execute", lambda *_: pytest.fail("ran"))
    edited(model / "tokenizer.json", lambda value: value["model"]["vocab"].update({"cat": 999_999, "zebra": 0}))
    said = r"its vocabulary is not the reference's: of its [\d,]+ tokens and the [\d,]+ wanted, [\d,]+ are in one alone.*KL needs the same"
    with pytest.raises(HarnessError, match=said):
        elsewhere.evaluate(model, "other", "tldr", study.parent)
    assert not list((study / "cells").glob("other-*"))


def test_another_number_of_outputs_is_one_line_before_anything_runs(study: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as an adapter has that brings the reference's tokenizer and lies over a larger vocabulary."""
    monkeypatch.setattr(elsewhere.engine, "execute", lambda *_: pytest.fail("ran"))
    _widen(model)
    with pytest.raises(HarnessError, match=r"^checkpoint .*: its output has [\d,]+ tokens and the reference's [\d,]+; KL needs the same"):
        elsewhere.evaluate(model, "wider", "tldr", study.parent)


def test_a_worker_refuses_tokens_and_outputs_that_are_not_the_reference_s(study: Path, model: Path) -> None:
    small = Experiment.model_validate({key: value for key, value in _written(study).items() if key in Experiment.model_fields})
    visit = elsewhere._visit(model, "wide", study, small, world(), None, Declared())
    edited(model / "tokenizer_config.json", lambda value: value.update(eos_token="<sep>"))
    with pytest.raises(HarnessError, match="its responses end with token '<sep>', the reference's with '<eos>'"):
        measure_visitor(small, visit, silent)
    edited(model / "tokenizer_config.json", lambda value: value.update(eos_token="<eos>"))
    _widen(model)
    with pytest.raises(HarnessError, match=r"its output has \d+ tokens and the reference's \d+"):
        measure_visitor(small, visit, silent)
    assert not visit.folder.exists()


def _written(study: Path) -> dict[str, Any]:
    return dict(json.loads((study / "experiment.json").read_text(encoding="utf-8")))


def _widen(folder: Path) -> None:
    """Pad the embedding, as checkpoints for accelerators often are."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(model.config.vocab_size + 8, mean_resizing=False)
    model.save_pretrained(folder)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "dpo"}, "an algorithm of tldr-.* has that name"),
        ({"name": "../x"}, "letters, digits"),
        ({"seed": 3}, r"--seed 3: tldr-.* has no such reference\. Legal: 0\."),
        ({"task": "tdlr"}, "Unknown task 'tdlr'. Did you mean 'tldr'"),
        ({"model": Path("nowhere")}, "Unknown model 'nowhere'"),
    ],
)
def test_what_cannot_be_is_one_line(study: Path, model: Path, arguments: dict[str, Any], said: str) -> None:
    asked = {"model": model, "name": "fine", "task": "tldr", **arguments}
    with pytest.raises(HarnessError, match=said):
        elsewhere.evaluate(asked["model"], asked["name"], asked["task"], study.parent, seed=asked.get("seed"))


def test_pickled_weights_and_a_study_of_another_engine_are_refused(study: Path, model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(HarnessError, match="safetensors"):
        elsewhere.evaluate(model, "pickled", "tldr", study.parent)
    (model / "pytorch_model.bin").rename(model / "model.safetensors")
    old = tmp_path / "old"
    records.write_json(old / "tldr-0" / "experiment.json", {**_written(study), "study": "0" * 64})
    with pytest.raises(HarnessError, match="measured by another version of the engine"):
        elsewhere.evaluate(model, "old", "tldr", old)
    records.write_json(old / "tldr-1" / "experiment.json", _written(study))
    with pytest.raises(HarnessError, match="Several studies of task tldr"):
        elsewhere.evaluate(model, "old", "tldr", old)


@pytest.mark.parametrize(("text", "value"), [("unknown", None), ("1.5e12", 1.5e12), ("Unknown ", None)])
def test_an_amount_is_a_number_or_unknown(text: str, value: float | None) -> None:
    assert elsewhere.amount(text, "--flops") == value


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "many"])
def test_an_amount_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(HarnessError, match=r"--flops .*: a number above 0 or 'unknown'"):
        elsewhere.amount(text, "--flops")


def test_a_new_study_names_the_checkpoint_alone(tmp_path: Path) -> None:
    small = experiment(tmp_path)
    visit = elsewhere._visit(tmp_path, "first", tmp_path / "s", small, world(), None, Declared())
    elsewhere._write_experiment(tmp_path / "s", small, visit, world())
    written = _written(tmp_path / "s")
    assert "plan" not in written  # or all that a later comparison runs would be exploratory
    assert [each["name"] for each in written["algorithms"]] == ["first"]
    assert written["study"] == study_key(small)
    assert math.isfinite(written["budgets"][0]["limit"])
    assert registry.find("tasks", written["task"]).name == "tldr"
