"""The comparison that a check runs beside its laws: what is asked, what comes back, and that it ends with the check, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.commands import kit, placing
from harness.errors import HarnessError

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0  # seconds, on a machine under load
BESIDE = """
import sys, time
from harness.commands import placing

if __name__ == "__main__":
    with placing.begun(sys.argv[1:]) as comparison:
        print(comparison.process.pid, next(comparison.followed()), flush=True)
        time.sleep(3600)
"""


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name, value in {"HARNESS_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    return ["compare", "--task", "tldr", "--algorithms", "dpo", "--quick", "--results", str(tmp_path / "results")]


def ended(group: int) -> bool:
    """Whether no process of the group runs any more within ``PATIENCE``; killed where one does."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        line = ["ps", "-eo", "pgid,stat"]
        rows = [row.split() for row in subprocess.run(line, capture_output=True, text=True, check=True).stdout.splitlines()[1:]]
        if not any(int(found) == group and not state.startswith("Z") for found, state in rows):
            return True
        time.sleep(0.2)
    os.killpg(group, signal.SIGKILL)
    return False


@pytest.mark.parametrize("heeded", [True, False])
def test_a_comparison_that_is_left_early_is_interrupted_with_its_workers(typed: list[str], heeded: bool) -> None:
    """As where the laws refuse the file; under nohup, where Ctrl-C is not heeded, as well."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler if heeded else signal.SIG_IGN)
    try:
        with pytest.raises(HarnessError, match="no"), placing.begun(typed) as comparison:
            assert next(comparison.followed()).startswith("[0:")
            raise HarnessError("no")
    finally:
        signal.signal(signal.SIGINT, before)
    assert comparison.process.returncode == 130
    assert ended(comparison.process.pid)


@pytest.mark.slow
def test_a_comparison_ends_with_a_check_that_was_killed(typed: list[str], tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(BESIDE, encoding="utf-8")
    line = [sys.executable, str(tmp_path / "beside.py"), *typed]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as beside:
        assert beside.stdout is not None
        group, said = beside.stdout.readline().split(maxsplit=1)
        assert "reference-seed0: sft" in said
        beside.kill()
    assert ended(int(group))


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


def test_a_task_for_no_place_is_refused() -> None:
    with pytest.raises(HarnessError, match="--on tldr names a task for its place, and --no-place asks for none"):
        kit.check("dpo", place=False, on="tldr")


def test_what_it_prints_and_how_it_ends_come_back(typed: list[str], tmp_path: Path) -> None:
    with placing.begun(["list", "tasks"]) as comparison:
        assert list(comparison.followed()) == []
        status, said = comparison.ended()
    assert status == 0 and "tldr" in said
    with placing.begun(["compare", "--task", "tdlr", "--results", str(tmp_path)]) as comparison:
        (line,) = comparison.followed()
        assert line.startswith("error: Unknown task 'tdlr'") and comparison.ended() == (2, "")
