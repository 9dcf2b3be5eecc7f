"""The room on losses: means over the end of the budget with their range over seeds, and no number that was not logged."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import synthetic

from harness.report import drawing, figure_losses
from harness.report.losses import ends
from harness.report.palette import looks
from harness.report.points import load, points
from harness.report.section import Section
from harness.report.section_losses import section


def logged(root: Path, *, seeds: int = 1, **rows: Any) -> Section | None:
    """The room of a study of DPO whose runs logged these values, seed by seed, each at shares 0.5, 0.95 and 1."""
    synthetic.study(root, ("dpo",), seeds=seeds, settings=1, failed=False)
    for seed, folder in enumerate(sorted(root.glob("cells/*"))):
        steps = [(0.5, 0), (0.95, 1), (1.0, 2)]
        lines = [{"share": share, "phase": "update"} | {key: each[seed][at] for key, each in rows.items()} for share, at in steps]
        lines.insert(0, {"share": 0.99, "phase": "reward", "loss": 99.0})
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    study = load(root)
    with drawing.style():
        return section(study, points(study), looks([("dpo", False)]))


def test_the_mean_is_over_the_last_tenth_without_the_reward_model(tmp_path: Path) -> None:
    """Seed 0 logs 3 and 5 at shares .95 and 1, mean 4; seed 1 logs 1 and 2, mean 1.5; over seeds 2.75."""
    room = logged(tmp_path, seeds=2, loss=([9, 3, 5], [9, 1, 2]), gradient_norm=([0, 1, 1], [0, 1, 3]))
    assert room is not None
    (row,) = room.tables[0].rows
    assert row == ["dpo", "beta=0.5", "2", "4", "2.75 (1.5 to 4)", "1.5 (1 to 2)"]
    assert room.tables[0].headings[4:] == ["loss", "gradient norm"]
    (found,) = map(ends, points(load(tmp_path)))
    assert found["loss"] == pytest.approx((2.75, 1.5, 4.0, 4))


def test_one_seed_has_no_range_and_what_is_not_logged_is_said(tmp_path: Path) -> None:
    room = logged(tmp_path, loss=([9, 3, 5],), gap=([None] * 3,))
    assert room is not None
    assert room.tables[0].rows == [["dpo", "beta=0.5", "1", "2", "4"]]


def test_no_log_no_room(tmp_path: Path) -> None:
    assert logged(tmp_path) is None


def test_every_algorithm_has_a_panel_of_what_it_minimises(tmp_path: Path) -> None:
    study = load(synthetic.study(tmp_path, ("dpo", "kto", "ppo"), settings=2, failed=False))
    found = points(study)
    with drawing.style():
        drawn = figure_losses.draw(found, looks([(point.algorithm, False) for point in found]))
    assert drawn is not None
    assert {row["algorithm"] for row in drawn.rows} == {"dpo", "kto", "ppo"}
    assert {row["panel"] for row in drawn.rows} == {"loss"}
    ended = [row["value"] for row in csv.DictReader(drawing.table(drawn.rows).splitlines()) if float(row["share"]) > 0.98]
    assert all(0.49 <= float(value) <= 0.5 for value in ended)  # training_rows: 0.69 - 0.2 share
