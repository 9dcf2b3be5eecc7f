"""Studies under other assumptions: set side by side, never pooled, and only what every one of them shows is said of all."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from harness.report import robustness
from harness.report.points import load
from harness.store import records
from tests.report import synthetic

USUAL = {"labels": "bt", "agreement": 0.85, "task_options": {}}
PEAKS = {"dpo": 0.99, "ipo": 0.95, "kto": 0.0, "sft_chosen": 0.55}


def study(root: Path, name: str, peaks: dict[str, float] | None = None, **assumed: Any) -> Path:
    """Three algorithms and a control on one seed whose win rates lead to ``peaks``."""
    before = dict(synthetic.PEAK)
    synthetic.PEAK.update(peaks or PEAKS)
    try:
        return synthetic.study(root / name, tuple(PEAKS), settings=1, failed=False, assumptions={**USUAL, **assumed})
    finally:
        synthetic.PEAK.update(before)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    study(tmp_path, "a")
    study(tmp_path, "b", labels="flip")
    study(tmp_path, "c", {**PEAKS, "ipo": 0.99, "dpo": 0.5}, task_options={"share": 0.1})
    return tmp_path


def groups(results: Path) -> list[list[robustness.Assumed]]:
    return robustness._groups(robustness._loaded(results))


def test_studies_are_named_by_what_they_assume_otherwise(results: Path) -> None:
    (group,) = groups(results)
    assert [each.name for each in group] == ["as given", "labels = flip", "share = 0.1"]
    assert [each.study.folder.name for each in group] == ["a", "b", "c"]


def test_where_no_value_is_the_usual_one_each_study_tells_its_own(tmp_path: Path) -> None:
    """Two studies: neither is what goes without saying, whatever their names' order."""
    study(tmp_path, "a", labels="flip")
    study(tmp_path, "b")
    (group,) = groups(tmp_path)
    assert [each.name for each in group] == ["labels = bt", "labels = flip"]


def test_only_what_every_study_shows_is_said_of_all(results: Path) -> None:
    (group,) = groups(results)
    assert robustness.survives(group[:2]) == (["dpo above ipo", "dpo above kto", "ipo above kto"], [])
    assert robustness.survives(group) == (["dpo above kto", "ipo above kto"], ["dpo and ipo"])
    assert robustness.sentence(group) == (
        "1 seed in some study: no order is said to survive. By intervals that leave the seed out, 2 pairs lie on one side of 0 in all 3 "
        "studies and 1 are reversed between two."
    )


def test_an_order_is_said_to_survive_where_studies_have_seeds(tmp_path: Path) -> None:
    for name, labels in (("a", "bt"), ("b", "flip")):
        before = dict(synthetic.PEAK)
        synthetic.PEAK.update(PEAKS)
        assumed = {**USUAL, "labels": labels}
        synthetic.study(tmp_path / name, ("dpo", "kto"), seeds=3, settings=1, failed=False, assumptions=assumed)
        synthetic.PEAK.update(before)
    (group,) = groups(tmp_path)
    assert (
        robustness.sentence(group) == "In all 2 studies the interval of the difference of win rates lies on one side of 0: dpo above kto."
    )


def test_a_study_that_differs_in_more_than_assumptions_is_not_beside_the_others(results: Path) -> None:
    experiment = records.read(results / "c").experiment
    records.write_json(results / "c" / "experiment.json", {**experiment, "sft_steps": 7})
    assert sorted(len(group) for group in groups(results)) == [1, 2]


def test_the_page_and_its_figure_hold_every_study_with_its_interval(results: Path) -> None:
    page = robustness.write(results)
    assert page == results / "robustness" / "index.html"
    text = page.read_text(encoding="utf-8")
    assert "1 seed: no ranking." in text and "labels = flip" in text and "never pooled" in text
    rows = list(csv.DictReader((results / "robustness" / "figures" / "robustness.csv").read_text().splitlines()))
    assert len(rows) == 2 * 3 * 4
    assert all(float(row["lower"]) <= float(row["value"]) <= float(row["upper"]) for row in rows)
    point = load(results / "b").points[0]
    assert any(row["assumption"] == "labels = flip" and float(row["value"]) == point.get("win_sft").value for row in rows)  # type: ignore[union-attr]


def test_one_study_alone_makes_no_page(tmp_path: Path) -> None:
    study(tmp_path, "a")
    assert robustness.write(tmp_path) is None
    assert not (tmp_path / "robustness").exists()
