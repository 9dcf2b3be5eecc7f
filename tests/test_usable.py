"""A file that cannot be planned is left out of a comparison in one line; the others are planned without it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import cli
from harness.planning.usable import usable

HEAD = "from harness import preference_loss\n\n\n"
SOUND = HEAD + "@preference_loss\ndef algorithm(chosen, rejected, *, beta: float = 1.0):\n    return -chosen\n"
FILES = {
    "mine": (SOUND, ""),
    "dpo": (SOUND, "dpo.py:4: the name 'dpo' is already that of"),
    "torn": ("def algorithm(chosen:\n    return chosen\n", "torn.py:1: not a Python file"),
    "empty": ("x = 1\n", "empty.py: defines no 'algorithm'"),
    "lost": (SOUND.replace("@", 'grid = {"gamma": (1.0,)}\n\n\n@'), "lost.py:4: grid: lost.gamma: unknown setting"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, (body, _) in FILES.items():
        (tmp_path / f"{name}.py").write_text(body, encoding="utf-8")
    return tmp_path


def test_files_that_cannot_be_planned_are_left_out_with_file_and_line(folder: Path) -> None:
    names = ["dpo", *(f"./{name}.py" for name in FILES)]
    flags, left = usable({"algorithms": names, "set": ["dpo.beta=1", "torn.beta=2"], "seeds": "1"}, {})
    assert flags == {"algorithms": ["dpo", "./mine.py"], "set": ["dpo.beta=1"], "seeds": "1"}
    assert list(left) == [f"./{name}.py" for name in FILES if name != "mine"]
    for name, reason in left.items():
        assert FILES[Path(name).stem][1] in reason
        assert "\n" not in reason


def test_names_and_absent_paths_are_typing_errors_and_stay(folder: Path) -> None:
    asked = {"algorithms": ["kot", "./absent.py", "./mine.py"]}
    assert usable(asked, {}) == (asked, {})


def test_nothing_is_left_out_where_nothing_else_could_be_compared(folder: Path) -> None:
    asked = {"algorithms": ["./torn.py"]}
    assert usable(asked, {}) == (asked, {})


def test_algorithms_of_an_experiment_file_are_left_out_too(folder: Path) -> None:
    flags, left = usable({}, {"algorithms": {"ipo": {}, "./torn.py": {"beta": 1}}})
    assert flags == {"algorithms": ["ipo"]}
    assert list(left) == ["./torn.py"]


def test_the_command_says_what_it_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["harness", "compare", "--task", "bandit", "--quick", "--algorithms", "ipo,./mine.py,./torn.py", "--dry-run"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    printed = capsys.readouterr()
    assert stop.value.code == 1
    assert printed.err.startswith("left out: torn: ")
    assert printed.err.count("\n") == 1
    assert "mine-beta=" in printed.out
