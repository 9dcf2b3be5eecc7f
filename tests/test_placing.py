"""The comparison that ``harness check`` runs beside its laws: what is asked, what comes back, and that nothing outlives an interruption."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.commands import kit, placing
from harness.errors import HarnessError


@pytest.fixture(autouse=True)
def _root_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def test_the_first_yardsticks_are_what_an_algorithm_is_placed_beside_and_on(tmp_path: Path) -> None:
    assert placing.words(None, "ipo", tmp_path) == [
        *("compare", "--task", "tldr", "--algorithms", "dpo,ipo", "--quick", "--results", str(tmp_path)),
    ]
    assert placing.words("bandit", "dpo", tmp_path)[1:5] == ["--task", "bandit", "--algorithms", "dpo"]


def test_what_has_no_place_says_why_and_is_refused_where_the_task_was_asked_for(tmp_path: Path) -> None:
    typed, reason = kit._planned(None, "odpo", tmp_path)
    assert typed == [] and reason.startswith("odpo needs margins")
    with pytest.raises(HarnessError, match=r"^odpo needs margins"):
        kit._planned("tldr", "odpo", tmp_path)


def test_what_it_prints_and_how_it_ends_come_back(tmp_path: Path) -> None:
    with placing.begun(["list", "tasks"]) as comparison:
        assert list(comparison.followed()) == []
        status, said = comparison.ended()
    assert status == 0 and "tldr" in said
    with placing.begun(["compare", "--task", "tdlr", "--results", str(tmp_path)]) as comparison:
        (line,) = comparison.followed()
        assert line.startswith("error: Unknown task 'tdlr'") and comparison.ended() == (2, "")


def test_a_block_that_is_left_early_leaves_no_process_behind(tmp_path: Path) -> None:
    """As where the laws refuse the file: the comparison and its workers have one session, which is empty soon after."""
    typed = ["compare", "--task", "bandit", "--quick", "--results", str(tmp_path)]
    with pytest.raises(HarnessError, match="no"), placing.begun(typed) as comparison:
        assert next(comparison.followed()).startswith("[0:")
        raise HarnessError("no")
    assert comparison.process.returncode != 0
    for _ in range(100):
        try:
            os.killpg(comparison.process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a worker is still there")
