"""Where an algorithm's population optimum lies is one of a few words, declared in its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.plugins import declaration

FILE = 'optimum = "{}"\n\ndef algorithm(chosen, rejected):\n    return rejected - chosen\n'


def test_a_declared_optimum_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE.format("win-tilt"))
    assert declaration.read(tmp_path / "mine.py", "algorithm").metadata["optimum"] == "win-tilt"


def test_another_word_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE.format("win-tlit"))
    with pytest.raises(HarnessError, match=r"optimum: 'win-tlit' is not one of reward-tilt, win-tilt, none known\..*win-tilt"):
        declaration.read(tmp_path / "mine.py", "algorithm")
