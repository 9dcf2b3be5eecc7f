"""The room on tuning: what it says of tuned and untuned studies, when effort is called equal, and what stands in its tables."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from harness.report import drawing, figure_tuning, section_tuning
from harness.report.palette import looks
from harness.report.points import load, points
from harness.report.section import Section
from harness.report.tuned import Tried, wilson_text
from harness.store.records import write_json
from tests.report import synthetic


def room(folder: Path) -> Section:
    study = load(folder)
    found = points(study)
    with drawing.style():
        made = section_tuning.section(study, found, looks([(point.algorithm, point.control) for point in found]))
    assert made is not None
    return made


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.tuned(tmp_path_factory.mktemp("tuned"))


def test_an_untuned_study_says_so_in_one_sentence(tmp_path: Path) -> None:
    made = room(synthetic.study(tmp_path, ("dpo",), settings=1, failed=False))
    assert made.paragraphs[0].startswith("Untuned: ")
    assert made.tables == [] and made.figures == ()
    assert len(made.paragraphs) == 2  # and the checkpoint rule


def test_a_tuned_study_says_how_and_how_good_its_judge_was(tuned: Path) -> None:
    said = " ".join(room(tuned).paragraphs)
    assert "its declared default and 4 quasi-random points, on seed 0 with the budget 2epochs each, measured on 128 tuning prompts" in said
    assert "0.74 [0.69, 0.79], n=256" in said
    assert "Tuned with equal effort: tuning FLOPs differ by at most 0.0 %" in said
    assert "rank nothing" in said


def test_equal_effort_is_refused_over_two_percent(tmp_path: Path) -> None:
    made = room(synthetic.tuned(tmp_path, extra=1.03))
    assert "equal effort:" not in " ".join(made.paragraphs)
    assert any("spread over 3 %" in said for said in made.cautions)


def test_trials_that_diverged_are_counted_with_an_interval(tuned: Path) -> None:
    table = next(each for each in room(tuned).tables if "share diverged" in each.headings)
    rows = {row[0]: row for row in table.rows}
    assert rows["ppo"][1:3] == ["15", "1"]
    # statsmodels.stats.proportion.proportion_confint(1, 15, method="wilson"): 0.0119, 0.2982
    assert rows["ppo"][3] == "0.07 [0.01, 0.30], n=15"
    assert wilson_text(0, 0) == ""


def test_the_winner_is_the_trial_with_the_best_score_and_its_points_are_named_by_their_grid_value(tuned: Path) -> None:
    study = load(tuned)
    tried = Tried(study)
    for (name, grid), chosen in tried.chosen.items():
        scores = [each.score for each in tried.trials if (each.algorithm, each.grid) == (name, grid) and each.score is not None]
        assert chosen.proxy is not None and chosen.proxy.score == max(scores)
    assert {point.setting for point in points(study) if "tuned" in point.setting and point.algorithm == "dpo"} == {
        "beta=0.5, tuned", "beta=0.1, tuned", "beta=0.03, tuned",
    }  # fmt: skip
    assert {point.knob for point in points(study) if point.algorithm == "dpo"} == {"0.5", "0.1", "0.03"}


def test_settings_chosen_on_a_seed_that_is_reported_are_a_caution(tuned: Path, tmp_path: Path) -> None:
    """The synthetic trials ran on seed 0, as the cells did; a study whose trials ran on another seed has no such caution."""
    assert any("chosen on seed 0, which the results include" in said for said in room(tuned).cautions)
    synthetic.tuned(tmp_path)
    for path in (tmp_path / "trials").glob("*/record.json"):
        write_json(path, {**json.loads(path.read_text()), "seed": 1})
    assert not any("chosen on" in said for said in room(tmp_path).cautions)


def test_every_curve_of_an_algorithm_has_its_row_for_a_target(tmp_path: Path) -> None:
    synthetic.tuned(tmp_path, ("dpo",))
    for place, path in enumerate(sorted((tmp_path / "cells").glob("*/record.json"))):
        record = json.loads(path.read_text())
        record["tuning"]["targets"] = [{"target": 0.5, "reached": True, "words": f"gap={place}: reached: KL 0.52 at beta 1"}]
        write_json(path, record)
    table = next(each for each in room(tmp_path).tables if "target, nats" in each.headings)
    assert len(table.rows) == len({row[2] for row in table.rows}) == 3


def test_a_target_that_was_not_reached_is_a_finding(tuned: Path) -> None:
    made = room(tuned)
    assert any("dpo at KL 2 (not reached: highest KL 1.20 at beta 0.1)" in said for said in made.paragraphs)
    table = next(each for each in made.tables if "target, nats" in each.headings)
    assert ["dpo", "0.5", "reached: KL 0.52 at beta 0.5"] in [list(row) for row in table.rows]


def test_trials_that_looked_for_a_kl_take_no_part_in_a_selection(tmp_path: Path) -> None:
    synthetic.tuned(tmp_path, ("dpo",))
    synthetic.trial(tmp_path, "dpo", 0, -1, score=99.0, gold=99.0)
    tried = Tried(load(tmp_path))
    assert all(each.proxy is not None and each.proxy.score != 99.0 for each in tried.chosen.values())
    assert tried.spent["dpo"].trials == 16


def test_a_broken_trial_is_left_out_by_name_and_ends_no_page(tmp_path: Path) -> None:
    synthetic.tuned(tmp_path, ("dpo",))
    broken = next((tmp_path / "trials").iterdir()) / "record.json"
    broken.write_text("{")
    study = load(tmp_path)
    assert len(study.trials) == 14
    assert any(broken.parent.name in said for said in study.skipped)


def test_no_gold_no_gold_panel(tmp_path: Path) -> None:
    synthetic.tuned(tmp_path, ("dpo",))
    for path in (tmp_path / "trials").glob("*/record.json"):
        record = json.loads(path.read_text())
        for each in record["checkpoints"]:
            each["metrics"].pop("gold")
        write_json(path, record)
    tried = Tried(load(tmp_path))
    with drawing.style():
        drawn = figure_tuning.draw(tried.trials, looks([("dpo", False)]))
    assert drawn is not None
    assert {row["panel"] for row in drawn.rows} == {"score"}


def test_the_figure_ends_at_the_best_trial_and_counts_the_diverged_one(tuned: Path) -> None:
    tried = Tried(load(tuned))
    with drawing.style():
        drawn = figure_tuning.draw(tried.trials, looks([("dpo", False), ("ppo", False)]))
    assert drawn is not None
    last = {row["algorithm"]: row for row in drawn.rows if row["panel"] == "score"}
    assert last["ppo"]["k"] == 15
    best = max(each.score for each in tried.trials if each.algorithm == "ppo" and each.score is not None)
    assert np.isclose(last["ppo"]["value"], best)
    table = next(each for each in room(tuned).tables if "k" in each.headings)
    assert [row[1] for row in table.rows if row[0] == "ppo"] == ["1", "2", "4", "8", "15"]
    assert all("[" in row[2] and "[" in row[3] for row in table.rows)


def test_the_page_of_a_tuned_study_holds_the_room_and_no_untuned_caution(tuned: Path) -> None:
    text = synthetic.text(tuned)
    assert re.search(r'<h2 id="tuning">Tuning</h2>', text)
    assert "What more trials buy" in text
    assert "Untuned:" not in text
