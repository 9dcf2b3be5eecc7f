"""A report is made again exactly when something that decides it is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.report import made
from tests.report import synthetic


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = synthetic.study(tmp_path, ("dpo",), settings=1)
    (folder / "report" / "figures").mkdir(parents=True)
    (folder / "report" / "index.html").write_text("page")
    (folder / "report" / "figures" / "one.svg").write_text("figure")
    made.remember(folder, "a table")
    return folder


def test_what_stands_is_said_again(study: Path) -> None:
    assert made.summary(study) == "a table"
    assert made.summary(study.parent) is None


@pytest.mark.parametrize("name", ["report/index.html", "report/figures/one.svg", "experiment.json"])
def test_another_byte_makes_it_anew(study: Path, name: str) -> None:
    (study / name).write_bytes((study / name).read_bytes() + b" ")
    assert made.summary(study) is None


def test_another_record_a_lost_figure_or_other_code_makes_it_anew(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = next(study.glob("cells/*/record.json"))
    text = record.read_text()
    record.write_text(text + " ")
    assert made.summary(study) is None
    record.write_text(text)
    assert made.summary(study) == "a table"
    (study / "cells" / "new").mkdir()
    (study / "cells" / "new" / "log.txt").write_text("")
    assert made.summary(study) is None
    (study / "cells" / "new" / "log.txt").unlink()
    monkeypatch.setattr(made, "version", lambda name: "0")
    assert made.summary(study) is None
    monkeypatch.undo()
    (study / "report" / "figures" / "one.svg").unlink()
    assert made.summary(study) is None


def test_a_note_that_is_none_is_passed_over(study: Path) -> None:
    for text in ("", "{}", "[]", "{"):
        (study / "report" / made.NOTE).write_text(text)
        assert made.summary(study) is None
