"""Policies that runs keep: what is loaded again is what was measured, at temperature 1 and at others, and nothing is trained again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from harness import compare
from harness.data.shapes import shape
from harness.data.tokenise import Tokens
from harness.errors import HarnessError
from harness.measure.chance import generator_for
from harness.models.storage import load_tokenizer
from harness.planning.budget import budgets
from harness.planning.experiment import Experiment, cells, resolve, study_key
from harness.plugins.registry import find, load_entry
from harness.running import kept
from harness.running.baseline import measure_reference
from harness.running.cell import Plan, run_cell
from harness.running.temperatures import measure_later
from harness.store import records, temperatures
from harness.store.writer import CellWriter
from harness.training.ledger import Ledger
from harness.types import Task

LONGEST = 32  # tokens of a response of the embedded task
SMALL = """
task = "tldr"
model = "tiny-64"
budget = "3e9"
sft_steps = 20
pairs = 64
evaluation_prompts = 24
mark_prompts = 8
tuning_prompts = 8
probe_prompts = 8
frontier_samples = 8
stage_threads = 1
marks = []

[algorithms.dpo]
beta = 0.1
"""


@cache
def world() -> Task:
    found: Task = load_entry(find("tasks", "tldr")).task(None)
    return found


def experiment(folder: Path, **flags: object) -> Experiment:
    (folder / "small.toml").write_text(SMALL)
    task = world()
    return resolve(flags, folder / "small.toml", task.defaults, task_version=task.version, judges=task.judge_names)


def plan(small: Experiment, folder: Path) -> Plan:
    found = next(cells(small))
    budget = budgets(small, shape(small.model, len(world().vocabulary)), world().typical_tokens)[found.budget]
    return Plan(small, found, budget, folder)


def silent(*_: object) -> None:
    """Progress that nobody hears."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cell run in this process, with a cache of its own."""
    root = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(root / "cache"))
        patch.setattr("harness.running.stages.load_task", lambda _: world())  # read once: it is the same for every job
        small = experiment(root)
        assert run_cell(plan(small, root / "cells" / "one"), silent) == "finished"
        assert measure_reference(small, 0, root / "references" / "seed0", silent) == "finished"
        yield root


def cell(folder: Path) -> records.Cell:
    record = json.loads((folder / "cells" / "one" / records.RECORD).read_text())
    return records.Cell(folder / "cells" / "one", record)


def test_a_kept_policy_says_again_what_its_run_recorded(folder: Path) -> None:
    found = cell(folder)
    rows = [row for row in found.samples() if row["mark"] == 1.0 and row["slice"] == "evaluation"]
    policy = kept.load(found.folder, Ledger(float("inf")))
    tokens = Tokens(load_tokenizer(found.folder / records.POLICY), 10**6, LONGEST)
    ids = tokens.prompts([row["prompt"] for row in rows])
    drawn = policy.sample(ids, max_tokens=LONGEST, generator=generator_for(0, "evaluation"))
    assert [tokens.text(row[0].ids) for row in drawn] == [row["response"] for row in rows]
    assert list(found.folder.glob(".policy-*")) == []


def test_rows_hold_each_opponent(folder: Path) -> None:
    rows = [row for row in cell(folder).samples() if row["slice"] == "evaluation"]
    assert rows
    for row in rows:
        assert len(row["wins_each"]) == len(row["opponent_lengths"]) == 4
        assert set(row["wins_each"]) <= {0.0, 0.5, 1.0}
        assert sum(row["wins_each"]) / 4 == row["win_sft"]
        assert row["wins_each"].count(0.5) / 4 == row["tie_sft"]
        assert all(0 <= length <= LONGEST for length in row["opponent_lengths"])


def test_what_is_kept_decides_no_study(folder: Path) -> None:
    assert study_key(experiment(folder)) == study_key(experiment(folder, keep_policies="none"))


def test_auto_keeps_small_policies_only(folder: Path) -> None:
    assert kept.keeps(experiment(folder), kept.SMALL - 1)
    assert not kept.keeps(experiment(folder), kept.SMALL)
    for rule in ("final", "all"):
        assert kept.keeps(experiment(folder, keep_policies=rule), 10**9)
    assert not kept.keeps(experiment(folder, keep_policies="none"), 1)


def test_a_cell_without_a_policy_is_told_how_to_keep_one(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"cell-seed0 kept no policy: .*--keep final"):
        kept.load(tmp_path / "cell-seed0", Ledger(float("inf")))


def both(folder: Path) -> list[Path]:
    return [folder / "cells" / "one", folder / "references" / "seed0"]


def test_policy_and_reference_are_measured_greedily_at_the_end_without_a_kl(folder: Path) -> None:
    for each in both(folder):
        found = temperatures.read(each)
        assert list(found) == [0.0]
        assert {"win_sft", "win_reference", "tie_sft", "gold", "length", "eos_rate"} <= set(found[0.0].metrics)
        assert not {"kl", "k1", "kl_per_token"} & {*found[0.0].metrics, *found[0.0].rows[0]}
        assert [row["prompt_id"] for row in found[0.0].rows] == list(range(24))
        mean = sum(row["win_sft"] for row in found[0.0].rows) / 24
        assert found[0.0].metrics["win_sft"]["value"] == pytest.approx(mean)


def test_greedy_answers_are_those_of_the_kept_policy(folder: Path) -> None:
    found = cell(folder)
    prompts = [row["prompt"] for row in found.samples() if row["mark"] == 1.0 and row["slice"] == "evaluation"]
    tokens = Tokens(load_tokenizer(found.folder / records.POLICY), 10**6, LONGEST)
    policy = kept.load(found.folder, Ledger(float("inf")))
    drawn = policy.sample(tokens.prompts(prompts), max_tokens=LONGEST, temperature=0.0, generator=generator_for(9))
    assert [tokens.text(row[0].ids) for row in drawn] == [row["response"] for row in temperatures.read(found.folder)[0.0].rows]


def test_a_later_temperature_joins_the_others_and_the_record_stays(folder: Path, tmp_path: Path) -> None:
    for position, original in enumerate(both(folder)):
        again = tmp_path / original.parent.name / original.name
        shutil.copytree(original, again)
        record, first = (again / records.RECORD).read_bytes(), (again / records.TEMPERATURE_ROWS).read_bytes()
        wider = experiment(folder, temperatures=["0", ".5", "1"])
        assert wider.temperatures == (0.0, 0.5, 1.0)
        assert study_key(wider) == study_key(experiment(folder))
        assert temperatures.missing(again, wider.temperatures) == [0.5]
        assert measure_later(wider, 0, again, silent, reference=bool(position)) == "finished"
        assert list(temperatures.read(again)) == [0.0, 0.5]
        assert temperatures.missing(again, wider.temperatures) == []
        assert temperatures.read(again)[0.0] == temperatures.read(original)[0.0]
        assert temperatures.read(again)[0.5].rows != temperatures.read(again)[0.0].rows
        (again / records.TEMPERATURES).unlink()
        assert measure_later(experiment(folder), 0, again, silent, reference=bool(position)) == "finished"
        assert (again / records.TEMPERATURE_ROWS).read_bytes() == first  # from the saved weights as at the end of the run
        assert (again / records.RECORD).read_bytes() == record


def test_what_is_missing_is_a_job_where_the_policy_was_kept_and_a_line_where_not(folder: Path, tmp_path: Path) -> None:
    small = experiment(folder, temperatures=["0", "0.25"])
    settled = plan(small, tmp_path).fingerprint[:8]
    again = tmp_path / "cells" / f"{next(cells(small)).label}-{settled}"
    shutil.copytree(folder / "cells" / "one", again)
    shutil.copytree(folder / "references", tmp_path / "references")
    spending = {plan(small, tmp_path).cell.budget: plan(small, tmp_path).budget}

    def left(wanted: Experiment) -> list[str]:
        return [job.name for job in compare._jobs(wanted, tmp_path, spending, force=False) if not job.name.startswith("frontier")]

    names = left(small)
    assert names == ["reference-seed0", f"temperatures-{next(cells(small)).label}", "temperatures-reference-seed0"]  # short ones last
    shutil.rmtree(again / records.POLICY)
    assert left(small) == [names[0], names[2]]
    assert "--keep final" in compare._unkept(small, tmp_path)
    assert compare._unkept(experiment(folder), tmp_path) == ""
    assert measure_later(small, 0, again, silent, reference=False) == "failed"
    assert "kept no policy" in (again / records.LOG).read_text()


def test_what_is_torn_counts_as_not_measured(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "cell"
    shutil.copytree(folder / "cells" / "one", again)
    whole = (again / records.TEMPERATURE_ROWS).read_bytes()
    (again / records.TEMPERATURE_ROWS).write_bytes(whole[:-20])
    assert temperatures.read(again) == {}
    (again / records.TEMPERATURE_ROWS).write_bytes(whole)
    (again / records.TEMPERATURES).write_text("{")
    assert temperatures.missing(again, (0.0, 1.0)) == [0.0]


def test_a_run_anew_drops_the_policy_and_its_temperatures(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "cells" / "one", tmp_path / "one")
    with CellWriter(tmp_path / "one"):
        pass
    assert {path.name for path in (tmp_path / "one").iterdir()} == {records.METRICS, records.LOG}


@pytest.mark.parametrize("wrong", [["0", "2"], ["-1"], ["0", "0"], ["warm"]])
def test_a_temperature_that_cannot_be_is_refused(folder: Path, wrong: list[str]) -> None:
    with pytest.raises(HarnessError, match="temperatures"):
        experiment(folder, temperatures=wrong)
