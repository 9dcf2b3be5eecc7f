"""Over-optimisation from whole records: planted gaps and peaks, best-of-n beside its bound, fits only where there is enough to fit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import synthetic

from harness.report import drawing, section_overoptimisation
from harness.report.overoptimisation import best, courses, scale
from harness.report.palette import looks
from harness.report.points import load, points
from harness.report.section import Section
from harness.store.records import compressed, line

PLANTED = {0.25: 0.9, 0.5: 1.2, 0.75: 1.0, 1.0: 0.3}  # gold above the reference by mark; the proxy is 1.5 above gold at the end


def plant(folder: Path) -> None:
    """KL is 4 times the mark; gold rises to the second mark and falls; the proxy leaves gold behind in step with the mark."""
    path = folder / "samples.jsonl.gz"
    rows = [json.loads(text) for text in gzip.decompress(path.read_bytes()).decode().splitlines()]
    for row in rows:
        if row["slice"] == "evaluation":
            gold = 2.2 + PLANTED[row["mark"]] + (row["gold"] - 2.2) * 0.01
            row |= {"kl": 4 * row["mark"], "gold": gold, "proxy": gold + 1.5 * row["mark"]}
    path.write_bytes(compressed("".join(line(row) + "\n" for row in rows)))


def made(study: Path) -> Section:
    loaded = load(study)
    found = points(loaded)
    with drawing.style():
        section = section_overoptimisation.section(loaded, found, looks([(point.algorithm, point.control) for point in found]))
    assert section is not None
    return section


def test_a_planted_peak_and_gap_are_found(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    plant(next(iter(study.glob("cells/dpo*"))))
    loaded = load(study)
    measured = scale(loaded.references)
    assert measured is not None
    course = courses(points(loaded), measured).by_name["dpo"]
    assert course.peak.value == pytest.approx(2.0)
    assert course.drop.value == pytest.approx(0.9 / measured.spread("gold"), abs=0.15)
    assert course.drop.lower > 0
    unit = [measured.spread(name) for name in ("proxy", "gold")]
    assert course.gaps[4.0].value == pytest.approx((0.3 + 1.5) / unit[0] - 0.3 / unit[1], abs=0.15)
    assert set(course.gaps) == {1.0, 2.0, 4.0}  # 0.5 lies before the first mark
    assert isinstance(course.fit, str) and course.fit.startswith("4 distinct KL values")


def test_best_of_n_stands_beside_its_bound(tmp_path: Path) -> None:
    """Gold of the synthetic reference is N(m, 1): the best of 2 is 1/sqrt(pi) = .564 above it, and wins 2 games of 3."""
    loaded = load(synthetic.study(tmp_path, ("dpo",), settings=1, failed=False))
    measured = scale(loaded.references)
    assert measured is not None
    found = {(each.ranking, each.n): each for each in best(measured)}
    two = found["gold", 2]
    assert two.kl == pytest.approx(0.193, abs=1e-3)
    assert two.gold.value - found["gold", 1].gold.value == pytest.approx(0.564, abs=0.02)
    assert two.win is not None and two.win.value == pytest.approx(2 / 3)
    assert found["gold", 32].win is None
    assert found["proxy", 8].gold.value < found["gold", 8].gold.value
    assert found["proxy", 8].proxy.value > found["gold", 8].proxy.value


def test_the_room_has_its_figure_and_whole_tables(tmp_path: Path) -> None:
    section = made(synthetic.study(tmp_path, ("dpo", "sft_chosen"), seeds=2, failed=False))
    assert all(len(row) == len(grid.headings) for grid in section.tables for row in grid.rows)
    cells = [cell for grid in section.tables for row in grid.rows for cell in row]
    assert "\N{LESS-THAN OR EQUAL TO} 2.50" in cells and "(no opponent left)" in cells
    assert any(cell.endswith("a fit needs 8)") for cell in cells)
    counted = {(row[0], row[1]): row[5] for row in section.tables[0].rows if row[5].startswith(("0.500", "0.667"))}
    assert counted["by the proxy", "1"].startswith("0.500 [0.500, 0.500]") and counted["by gold", "2"].startswith("0.667 [0.667, 0.667]")
    assert "counted, not estimated: it is one half at n = 1, and by gold n / (n + 1)" in section.tables[0].caption
    drawn = section.figures[0]
    assert {row["kind"] for row in drawn.rows} >= {"best of n by gold", "best of n by the proxy", "finished", "mark 0.5"}
    assert "its KL is at most log n - (n - 1)/n" in drawn.caption


def test_without_samples_of_the_reference_there_is_no_room(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    synthetic.reference(study, 0, points=True)
    loaded = load(study)
    assert section_overoptimisation.section(loaded, points(loaded), {}) is None
