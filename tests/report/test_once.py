"""What is computed once for a page and a paper: for the same things and arguments, for no others, and no longer than the things live."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path

import synthetic

from harness.report import drawing, page
from harness.report.once import once
from harness.report.palette import looks
from harness.report.points import load, points
from harness.store.records import Cell

CALLS: list[tuple[int, str]] = []


@once
def counted(cells: Sequence[Cell], word: str, *, loud: bool = False) -> list[str]:
    CALLS.append((len(cells), word))
    return [f"{word}{'!' * loud}"] * len(cells)


def test_the_same_things_and_arguments_are_computed_once() -> None:
    one, other = Cell(Path("a"), {}), Cell(Path("a"), {})
    CALLS.clear()
    assert counted((one, other), "x") is counted([one, other], "x")
    assert counted((one,), "x") == ["x"] and counted((other,), "x") == ["x"]
    assert counted((one, other), "y") == ["y", "y"] and counted((one, other), "x", loud=True) == ["x!", "x!"]
    assert len(CALLS) == 5
    assert counted((), "x") == counted((), "x") == [] and len(CALLS) == 7


def test_what_is_kept_goes_with_the_first_of_the_things() -> None:
    class Big(list[str]):
        pass

    @once
    def big(cells: Sequence[Cell]) -> Big:
        return Big("x" for _ in cells)

    cell = Cell(Path("a"), {})
    seen = weakref.ref(big((cell,)))
    assert seen() is not None
    del cell
    gc.collect()
    assert seen() is None


def test_a_study_in_another_folder_has_the_same_points(tmp_path: Path) -> None:
    study = load(synthetic.study(tmp_path, ("dpo", "ipo"), settings=1))
    assert points(study) == study.points == points(study)
    assert all(a is b for a, b in zip(points(study), points(study), strict=True))


def test_rooms_that_a_paper_passes_over_have_no_figure(tmp_path: Path) -> None:
    study = load(synthetic.study(tmp_path, ("dpo", "ipo", "sft_chosen"), settings=2, seeds=2))
    found = points(study)
    shown = looks([(point.algorithm, point.control) for point in found])
    with drawing.style():
        made = [make(study, found, shown) for make in (*page.SECTIONS, *page.TRAINING) if make in page.TABLES_ALONE]
    assert len(made) == len(page.TABLES_ALONE)
    assert any(made) and not [section.name for section in made if section and section.figures]
