"""Rows that are made when somebody reads them, once."""

from __future__ import annotations

from harness.data.lazy import Lazy
from harness.plugins import registry


def test_rows_are_made_once_on_first_use() -> None:
    made: list[int] = []
    rows = Lazy(lambda: made.append(1) or ["a", "b", "c"])  # type: ignore[func-returns-value]
    assert not made
    assert (len(rows), rows[1], rows[1:], list(rows)) == (3, "b", ["b", "c"], ["a", "b", "c"])
    assert made == [1]
    assert rows == ["a", "b", "c"] and rows != ["a"]


def test_naming_the_embedded_task_draws_none_of_its_fixed_rows() -> None:
    task = registry.load("tasks", "tldr").task(None)
    fixed = [task.tuning, task.evaluation, *(rows for probe in task.probes for rows in (probe.prompts, probe.groups))]
    assert all("_rows" not in vars(rows) for rows in fixed)
    assert len(task.evaluation) == 512
