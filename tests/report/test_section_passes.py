"""The room on pass@k: all numbers in a table, of every algorithm the best curve, and none of it where nothing is checked."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from harness.report import section_passes
from harness.report.palette import looks
from harness.report.points import load, points
from harness.report.section import Section
from tests.report import synthetic

CURVES = {"dpo": {1: 0.5, 2: 0.6, 4: 0.65}, "ipo": {1: 0.3, 2: 0.45, 4: 0.6}}


def study(root: Path, *, seeds: int = 1) -> Path:
    """A study whose first setting of an algorithm passes as ``CURVES`` says and whose others pass .1 less."""
    synthetic.study(root, tuple(CURVES), settings=2, seeds=seeds, failed=False)
    worst: dict[str, float] = {}
    for file in sorted(root.glob("cells/*/record.json")):
        record = json.loads(file.read_text())
        name, setting = record["algorithm"]["name"], json.dumps(record["setting"])
        lower = 0.0 if worst.setdefault(name, setting) == setting else 0.1  # type: ignore[comparison-overlap, arg-type]
        for k, value in CURVES[name].items():
            record["checkpoints"][-1]["metrics"][f"pass_at_{k}"] = synthetic.interval(value - lower, 0.04)
        file.write_text(json.dumps(record))
        samples = file.parent / "samples.jsonl.gz"
        rows = [json.loads(line) for line in gzip.decompress(samples.read_bytes()).splitlines()]
        for row in rows:
            if row["slice"] == "evaluation":
                row |= {f"pass_at_{k}": value - lower for k, value in CURVES[name].items()}
        samples.write_bytes(gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows)))
    return root


def section(root: Path) -> Section | None:
    found = load(root)
    shown = points(found)
    return section_passes.section(found, shown, looks([(point.algorithm, point.control) for point in shown], set()))


@pytest.mark.parametrize("seeds", [1, 2])
def test_every_setting_is_in_the_table_and_the_best_in_the_figure(seeds: int, tmp_path: Path) -> None:
    found = section(study(tmp_path, seeds=seeds))
    assert found is not None
    (table,) = found.tables
    assert list(table.headings) == ["algorithm", "setting", "pass@1", "pass@2", "pass@4"]
    assert [row[0] for row in table.rows] == ["SFT reference", "dpo", "dpo", "ipo", "ipo"]
    assert sorted(row[2].split()[0] for row in table.rows[1:]) == ["0.200", "0.300", "0.400", "0.500"]
    assert all(row[2].endswith("n=384") for row in table.rows[1:]) and table.rows[0][2] == "(not measured)"
    (drawn,) = found.figures
    shown = {(row["algorithm"], row["k"]): row["value"] for row in drawn.rows}
    assert shown == pytest.approx({(name, k): value for name, curve in CURVES.items() for k, value in curve.items()})


def test_a_study_that_checks_nothing_has_no_such_room(tmp_path: Path) -> None:
    assert section(synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)) is None


def test_the_page_shows_it(tmp_path: Path) -> None:
    html = synthetic.text(study(tmp_path))
    assert "Checked answers: pass@k" in html and "pass@k against k" in html
