"""Policies that runs keep: what is loaded again is what was measured, and where none was kept one line says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from harness import kept
from harness.cell import Plan, run_cell
from harness.data.tokenise import Tokens
from harness.errors import HarnessError
from harness.experiment import Experiment, cells, resolve, study_key
from harness.measure.evaluate import generator_for
from harness.models.storage import load_tokenizer
from harness.registry import find, load_entry
from harness.store import records
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


def silent(*_: object) -> None:
    """Progress that nobody hears."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cell run in this process, with a cache of its own."""
    root = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(root / "cache"))
        small = experiment(root)
        assert run_cell(Plan(small, next(cells(small)), 3e9, root / "cells" / "one"), silent) == "finished"
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
    drawn = policy.sample(ids, max_tokens=LONGEST, generator=generator_for(0, "evaluation", 1.0))
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
    assert kept.keeps(experiment(folder, keep_policies="all"), 10**9)
    assert not kept.keeps(experiment(folder, keep_policies="none"), 1)


def test_a_cell_without_a_policy_is_told_how_to_keep_one(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"cell-seed0 kept no policy: .*--keep-policies all"):
        kept.load(tmp_path / "cell-seed0", Ledger(float("inf")))
