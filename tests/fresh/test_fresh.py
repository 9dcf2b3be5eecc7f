"""What ``harness new`` writes runs as it is: its own test passes, it obeys the laws, and the command line takes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import fresh
from harness.errors import HarnessError
from harness.plugins import registry

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def harness(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "harness", *words]
    return subprocess.run(line, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("kind", "form"),
    [("algorithm", None), ("algorithm", "unpaired"), ("algorithm", "list"), ("algorithm", "on-policy"), ("task", None)],
    ids=str,
)
def test_what_is_written_passes_its_own_test_and_the_linter(tmp_path: Path, kind: str, form: str | None) -> None:
    written, test = fresh.write(kind, "mine-own", tmp_path, form)
    assert (written.name, test.name) == ("mine_own.py", "test_mine_own.py")
    assert fresh.STAND_IN not in written.read_text() + test.read_text()
    assert written.read_text().startswith('"""What '), "a listing puts the name before the sentence"
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    found = subprocess.run(line, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--config",
        str(ROOT / "pyproject.toml"),
        "--extend-ignore",
        "D103",
        str(written),
        str(test),
    ]
    assert subprocess.run(ruff, capture_output=True, text=True, check=False).stdout.strip() == "All checks passed!"


def test_the_written_files_are_on_the_command_line(tmp_path: Path) -> None:
    assert harness("new", "algorithm", "mine", cwd=tmp_path).stdout == "wrote mine.py\nwrote test_mine.py\n"
    assert harness("new", "task", "things", cwd=tmp_path).returncode == 0
    dry = harness("compare", "--task", "./things.py", "--algorithms", "dpo,./mine.py", "--quick", "--dry-run", cwd=tmp_path)
    assert dry.returncode == 0, dry.stderr
    assert "mine" in dry.stdout


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("kept = 1\n")
    with pytest.raises(HarnessError, match=r"mine\.py exists and is left as it is"):
        fresh.write("algorithm", "mine", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("algorthm", "mine"), "Did you mean 'algorithm'?"),
        (("algorithm", "mine", "unpaird"), "Did you mean 'unpaired'?"),
        (("task", "mine", "pair"), "a task has no kinds"),
        (("algorithm", "2nd"), "cannot be a file of Python's"),
        (("algorithm", "class"), "cannot be a file of Python's"),
        (("algorithm", "../mine"), "cannot be a file of Python's"),
        (("algorithm", "DPO-positive"), "already that of"),
        (("task", "imdb"), "already that of"),
    ],
)
def test_what_cannot_be_written_is_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    kind, name, *form = words
    with pytest.raises(HarnessError) as caught:
        fresh.write(kind, name, tmp_path, *form)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_not_take_a_built_in_s_name(tmp_path: Path) -> None:
    (tmp_path / "ipo.py").write_text("def algorithm(chosen): ...\n")
    with pytest.raises(HarnessError, match=r"ipo\.py:1: the name 'ipo' is already that of .*algorithms/ipo\.py"):
        registry.find("algorithms", str(tmp_path / "ipo.py"))
    assert registry.find("algorithms", str(ROOT / "algorithms" / "ipo.py")).name == "ipo"
