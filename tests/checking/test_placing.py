"""The comparison beside a check ends with the check, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.commands import placing

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


@pytest.mark.slow
def test_a_comparison_that_is_left_early_is_interrupted_with_its_workers(typed: list[str]) -> None:
    with pytest.raises(ZeroDivisionError), placing.begun(typed) as comparison:
        assert "reference-seed0: sft" in next(comparison.followed())
        1 / 0  # noqa: B018
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


def test_a_comparison_that_ends_by_itself_says_what_it_printed(typed: list[str]) -> None:
    with placing.begun([*typed, "--dry-run"]) as comparison:
        assert list(comparison.followed()) == []
        status, said = comparison.ended()
    assert status == 0
    assert "dpo" in said
