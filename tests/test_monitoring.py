"""Real tiny runs, one that takes probability from chosen responses and one that does not move: what they say on the way and record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from harness.data.shapes import shape
from harness.planning.budget import budgets
from harness.planning.experiment import cells, resolve
from harness.plugins.registry import find, load_entry
from harness.report import alarms
from harness.report.alarm import Run
from harness.report.numbers import by_mark, per_prompt
from harness.running.cell import Plan, run_cell
from harness.store import records
from harness.store.records import Row
from harness.types import Task
from harness.watching.following import Follower

EXPERIMENT = """
task = "tldr"
model = "tiny-64"
budget = "24steps"
sft_steps = 60
pairs = 160
evaluation_prompts = 32
mark_prompts = 32
tuning_prompts = 8
probe_prompts = 8
frontier_samples = 0
stage_threads = 1
temperatures = []
keep_policies = "none"
marks = [0.25, 0.5, 0.75]

[algorithms.dpo]
beta = 0.01
learning_rate = [3e-3, 1e-12]
"""


@cache
def world() -> Task:
    found: Task = load_entry(find("tasks", "tldr")).task(None)
    return found


class Heard:
    """Who follows the runs: marks with their samples and alarms, and how many rows came before each."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.marks: list[tuple[str, Row]] = []

    def row(self, cell: str, row: Row) -> None:
        self.rows[cell] = self.rows.get(cell, 0) + 1

    def mark(self, cell: str, mark: Row) -> None:
        self.marks.append((cell, mark))

    def end(self, cell: str, record: Row) -> None:
        self.marks.append((cell, {"mark": "end", **record}))


Ran = tuple[records.Cell, records.Cell, Heard]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Both runs, in this process, with a cache of their own."""
    root = tmp_path_factory.mktemp("monitoring")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(root / "cache"))
        patch.setattr("harness.running.stages.load_task", lambda _: world())
        (root / "small.toml").write_text(EXPERIMENT)
        task, heard = world(), Heard()
        given = resolve({}, root / "small.toml", task.defaults, task_version=task.version, judges=task.judge_names)
        limits = budgets(given, shape(given.model, len(task.vocabulary)), task.typical_tokens)
        folders = {f"{cell.setting['learning_rate']:g}": root / cell.label for cell in cells(given)}
        complaints: list[str] = []
        with Follower(folders, [heard], complaints.append):
            for cell, folder in zip(cells(given), folders.values(), strict=True):
                assert run_cell(Plan(given, cell, limits[cell.budget], folder), lambda *_: None) == "finished"
        assert complaints == []
        moved, still = (records.Cell(folder, json.loads((folder / records.RECORD).read_text())) for folder in folders.values())
        yield moved, still, heard


def names(cell: records.Cell) -> list[str]:
    return [str(each["name"]) for each in cell.record["alarms"]]


@pytest.mark.slow
def test_a_loss_that_only_widens_the_gap_takes_probability_from_chosen_responses_and_says_so(ran: Ran) -> None:
    moved, still, _ = ran
    assert "chosen_falling" in names(moved)
    (alarm,) = [each for each in moved.record["alarms"] if each["name"] == "chosen_falling"]
    assert all(each["upper"] < 0 for each in alarm["evidence"])
    assert "chosen_falling" not in names(still)


@pytest.mark.slow
def test_a_learning_rate_of_nothing_rings_and_a_policy_that_moves_does_not(ran: Ran) -> None:
    moved, still, _ = ran
    assert "not_moving" in names(still)
    assert "not_moving" not in names(moved)


@pytest.mark.slow
def test_held_out_log_probs_are_measured_at_every_mark(ran: Ran) -> None:
    moved, still, _ = ran
    for mark in (0.25, 0.5, 0.75, 1.0):
        values = {key: per_prompt(by_mark(moved.samples()), f"heldout_{key}", mark) for key in ("gap", "chosen_change", "rejected_change")}
        for pair, gap in values["gap"].items():
            assert gap == pytest.approx(values["chosen_change"][pair] - values["rejected_change"][pair], abs=1e-4)
    recorded = still.record["checkpoints"][-1]["metrics"]
    assert recorded["heldout_chosen_change"]["value"] == pytest.approx(0, abs=1e-3)
    assert recorded["heldout_chosen"]["value"] < -1  # nats: no response is certain


@pytest.mark.slow
def test_what_a_report_raises_is_what_the_record_holds(ran: Ran) -> None:
    for cell in ran[:2]:
        found = alarms.raised(Run.of(cell.record, cell.samples(), cell.metrics()), alarms.thresholds({}))
        plain: list[Any] = json.loads(json.dumps([each.plain() for each in found]))
        assert plain == cell.record["alarms"]


@pytest.mark.slow
def test_whoever_follows_hears_rows_marks_samples_and_the_end_of_each(ran: Ran) -> None:
    moved, _, heard = ran
    assert heard.rows == {"0.003": 24, "1e-12": 24}
    told = [mark for cell, mark in heard.marks if cell == "0.003"]
    assert [mark["mark"] for mark in told] == [0.25, 0.5, 0.75, 1.0, "end"]
    assert all(mark["samples"][0]["response"] for mark in told[:-1])
    assert not (moved.folder / records.MARKS).exists()
