"""What a report says and refuses to say, and how it joins seeds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import synthetic

from harness.report import (
    declared,
    drawing,
    findings,
    matching,
    page,
    rows,
    section_frontier,
    section_matched,
    section_safety,
    section_winrate,
    tables,
)
from harness.report.escape import visible
from harness.report.examples import examples
from harness.report.figure_compute import hour_unit
from harness.report.figure_frontier import legend_names
from harness.report.palette import looks
from harness.report.points import every_point, load, points
from harness.store.records import Study, read


def made(root: Path, *names: str, **flags: object) -> Study:
    return read(synthetic.study(root, names or ("dpo", "ppo"), **{"settings": 1, "failed": False} | flags))


@pytest.mark.parametrize(("seeds", "expected"), [(1, "1 seed: no ranking"), (3, "3 seeds: not testable"), (6, "")])
def test_the_line_on_seeds_goes_when_seeds_are_enough(tmp_path: Path, seeds: int, expected: str) -> None:
    """Two algorithms are one comparison: the smallest p is 2 / 2^S, .25 at S = 3 and .031 at S = 6."""
    study = made(tmp_path, seeds=seeds)
    text = " ".join(findings.cautions(study))
    assert expected in text
    assert ("no ranking" in text) == (seeds == 1)
    assert ("no ranking" in tables.summary(study)) == (seeds == 1)
    assert ("seed not included" in text) == (seeds == 1)


def test_a_trial_says_first_that_it_was_short_and_a_measurement_does_not(tmp_path: Path) -> None:
    study = made(tmp_path / "trial", trial=True)
    study.cells[0].record["compute"]["counts"]["steps"] = 12
    first, second, *_ = findings.cautions(study)
    assert first.startswith("TRIAL")
    assert second.startswith("Short, and one model: 12 to 120 optimiser steps a run, on at most 2000 pairs.")
    assert not any("Short" in each for each in findings.cautions(made(tmp_path / "real")))


def test_a_point_is_labelled_with_its_knob_whatever_else_is_set(tmp_path: Path) -> None:
    study = made(tmp_path, "dpo")
    (point,) = points(study)
    knob = point.head["algorithm"]["knob"]
    value = point.head["setting"][knob]
    point.head["setting"] = {"a_first": 7, knob: value, "learning_rate": 2e-4}
    assert point.knob == f"{value:g}"
    point.head["setting"] = {"a_first": 7, "learning_rate": 2e-4}
    assert point.knob == "7, 0.0002"


@pytest.mark.parametrize(("excess", "matched"), [(0.0, True), (0.019, True), (0.021, False), (-0.03, False)])
def test_the_word_matched_needs_a_spread_of_two_percent(tmp_path: Path, excess: float, matched: bool) -> None:
    made(tmp_path, "dpo")
    synthetic.cell(tmp_path, "kto", 0, 0, flops=synthetic.FLOPS * (1 + excess))
    study = read(tmp_path)
    sentence = matching.matching(points(study))
    assert ("matched" in sentence) is matched
    assert any("spread over" in each for each in findings.cautions(study)) is not matched


def test_evaluation_is_not_charged(tmp_path: Path) -> None:
    study = made(tmp_path, "dpo")
    study.cells[0].record["compute"]["canonical"]["evaluation"] = 9e15
    assert rows.rows(study)[0]["flops"] == pytest.approx(synthetic.FLOPS)


def test_several_seeds_become_one_point_with_a_two_way_interval(tmp_path: Path) -> None:
    point = points(made(tmp_path, "dpo", seeds=3))[0]
    assert point.seeds == (0, 1, 2)
    rows = [row for cell in point.cells for row in cell.samples() if row["mark"] == 1.0 and row["slice"] == "evaluation"]
    win = point.get("win_sft")
    assert win is not None
    assert win.value == pytest.approx(np.mean([row["win_sft"] for row in rows]))
    assert win.lower < win.value < win.upper
    assert win.n == 384
    length_of_seed = point.cells[0].record["checkpoints"][-1]["metrics"]["win_sft"]
    assert win.upper - win.lower != pytest.approx(length_of_seed["upper"] - length_of_seed["lower"])


def test_seeds_without_per_prompt_values_have_a_mean_and_no_bounds(tmp_path: Path) -> None:
    point = points(made(tmp_path, "dpo", seeds=2))[0]
    entropy = point.get("entropy")
    assert entropy is not None
    assert entropy.value == pytest.approx(14.0)
    assert np.isnan(entropy.lower)
    assert tables.value(entropy, 1).bounds == "[no bounds]"


def test_seeds_are_joined_in_the_safety_slices_too(tmp_path: Path) -> None:
    """Every row lost a tenth of its refusal mass and every fourth complied: the change is -.1 without spread, the share .25."""
    point = points(made(tmp_path, "dpo", seeds=2))[0]
    assert point.get("refusal_mass_delta") == pytest.approx((-0.1, -0.1, -0.1, 48))
    assert point.get("over_refusal_mass_delta") == pytest.approx((-0.1, -0.1, -0.1, 48))
    shares = [point.get(f"harmful_{category}") for category in ("comply", "refusal", "broken")]
    assert [share.value for share in shares if share] == [0.25, 0.75, 0.0]


def test_a_metric_that_one_seed_lacks_is_absent(tmp_path: Path) -> None:
    study = made(tmp_path, "dpo", seeds=2)
    del study.cells[1].record["checkpoints"][-1]["metrics"]["gold"]
    assert points(study)[0].get("gold") is None


def test_diverged_cells_are_listed_and_not_drawn(tmp_path: Path) -> None:
    study = made(tmp_path, failed=True)
    assert "kto" not in {point.algorithm for point in points(study)}
    assert findings.losses(study) == [("kto beta=0.03 seed 1", "diverged", "loss is not finite at step 31")]
    assert findings.counts(study) == (3, 2, 1, 0, 0, 0)


def test_points_are_of_the_largest_budget_and_every_point_of_all(tmp_path: Path) -> None:
    made(tmp_path, "dpo", "kto")
    for budget in (4.0, 2.0):
        for index in (0, 1):
            synthetic.cell(tmp_path, "dpo", index, 0, budget=budget)
    study = read(tmp_path)
    assert {(point.algorithm, point.budget) for point in points(study)} == {("dpo", "8epochs")}
    assert [(point.setting, point.budget) for point in every_point(study)][:3] == [("beta=0.5", f"{n}epochs") for n in (8, 4, 2)]
    assert findings.counts(study).shown == 6
    assert [point.limit for point in points(study)] == [4 * synthetic.FLOPS] * 2


def ending(study: Study, *rises: bool) -> Study:
    """The study with sample rows in which each seed's win rate rises by a half after its last mark, or does not."""
    for cell, rise in zip(study.cells, rises, strict=True):
        rows = cell.samples()
        for row in rows:
            row["win_sft"] = 1.0 if (rise and row["mark"] == 1.0) or row["prompt_id"] % 2 else 0.0
        object.__setattr__(cell, "samples", lambda rows=rows: rows)
    return study


@pytest.mark.parametrize(
    ("rises", "marked"), [((True,), True), ((False,), False), ((True, True, True), True), ((True, False, False), False)]
)
def test_an_algorithm_that_still_rises_over_all_seeds_carries_the_mark(tmp_path: Path, rises: tuple[bool, ...], marked: bool) -> None:
    """One seed of three that rises by .5 is a mean of .17 with a standard error of .17 over seeds: no claim."""
    study = ending(made(tmp_path, "dpo", seeds=len(rises)), *rises)
    (point,) = points(study)
    assert point.rise is not None
    assert point.rise.value == pytest.approx(0.5 * np.mean(rises))
    assert point.rise.n == 128  # the prompts of the mark
    assert point.rising == marked
    said = findings.unfinished_learning([point])
    assert bool(said) == marked
    assert not said or said[0].endswith("for dpo beta=0.5.")
    names = [line.name for line in tables.lines(study, tables.MAIN)]
    assert ("dpo \u2020" in names) == marked


def test_without_a_mark_at_three_quarters_the_page_says_that_convergence_was_not_measured(tmp_path: Path) -> None:
    study = ending(made(tmp_path, "dpo"), True)
    study.cells[0].record["checkpoints"].pop(2)
    (point,) = points(study)
    assert point.rise is None
    assert not point.rising
    said = "Convergence not measured: no win rate at a mark three quarters through the budget for "
    assert findings.unfinished_learning([point]) == [f"{said}any setting."]
    (other,) = points(ending(made(tmp_path / "b", "kto"), False))
    assert findings.unfinished_learning([point, other]) == [f"{said}dpo beta=0.5."]


def test_an_unfinished_run_carries_its_mark_in_every_room(tmp_path: Path) -> None:
    """Main table, win rates, safety, frontier scores; and no Bradley-Terry strength, for that is a rank."""
    study = load(synthetic.study(tmp_path, ("dpo", "kto"), seeds=1, settings=1, failed=False))
    ending(study, True, True)
    found = points(study)
    assert all(point.rising for point in found)
    for room in (section_winrate, section_safety, section_frontier, section_matched):
        with drawing.style():
            made = room.section(study, found, looks([(point.algorithm, False) for point in found]))
        assert made is not None
        names = {row[0] for table in made.tables for row in table.rows}
        assert "dpo" not in names and "dpo \u2020" in names, room.__name__
        if room is section_winrate:
            matrix = next(table for table in made.tables if table.headings[-1] == "strength, nats")
            assert {row[-1] for row in matrix.rows} == {"not ranked: not converged"}


def test_a_control_does_not_choose_the_settings_of_the_others(tmp_path: Path) -> None:
    """The KL of dpo's settings is .6, 2.1 and 4.4; nine settings of a control near 0 must not move the median to .6."""
    found = points(made(tmp_path, "dpo", "sft_chosen", settings=3))
    assert declared.settings(found)["dpo"].setting == "beta=0.1"


def test_hours_of_different_devices_are_not_added(tmp_path: Path) -> None:
    study = made(tmp_path)
    assert hour_unit(study.cells) == "cpu-core-hours"
    study.cells[0].times["device"] = "cuda: H200"
    assert hour_unit(study.cells) is None
    assert hour_unit(study.cells[:1]) == "GPU-hours (cuda: H200)"


def test_a_legend_shows_the_conventions_that_are_an_algorithms_own(tmp_path: Path) -> None:
    names = legend_names(points(made(tmp_path, "dpo", "ipo")))
    assert names == {"dpo": "dpo (beta)", "ipo": "ipo (gap; gap nats per sequence; normalize sum)"}


def test_looks_do_not_depend_on_order_and_controls_are_grey() -> None:
    first = looks([("b", False), ("a", False), ("c", True)])
    assert first == looks([("c", True), ("a", False), ("b", False)])
    assert first["c"].colour == "#666666"
    assert len({(look.colour, look.marker) for look in looks([(f"m{i:02}", False) for i in range(10)]).values()}) == 10


def test_examples_show_the_same_prompts_for_all(tmp_path: Path) -> None:
    found = examples(points(made(tmp_path, "dpo", "kto", "ppo", settings=2)))
    assert len(found) == 3
    for example in found:
        assert [text.source.split()[0] for text in example.texts] == ["SFT", "data", "dpo", "kto", "ppo"]
        assert len(example.others) == 3


def test_the_terminal_gets_at_most_ten_lines_and_the_caveat(tmp_path: Path) -> None:
    study = made(tmp_path, *synthetic.KNOBS, settings=3)
    lines = tables.summary(study).split("\n")
    assert len(lines) == 1 + len(synthetic.KNOBS) + 1
    assert "no ranking" in lines[-1]
    assert "6 of 18 settings" in lines[-1]
    assert len(tables.summary(made(tmp_path / "small")).split("\n")) == 4


def test_visible_keeps_words_and_shows_what_acts() -> None:
    assert visible("naïve 猫 \n tab\t") == "naïve 猫 \n tab\t"
    assert visible("a\nb", lines=False) == r"a\nb"
    assert visible("\x1b]0;title\x07\u202e\u2028\u200b\x9b\ud800") == r"\x1b]0;title\x07\u202e\u2028\u200b\x9b\ud800"


@pytest.mark.parametrize("seeds", [1, 2])
def test_every_table_of_intervals_says_what_they_are(tmp_path: Path, seeds: int) -> None:
    """By caption or by the room's paragraphs; and one seed is never "1 seeds", nor its interval one over seeds."""
    study = load(synthetic.study(tmp_path, ("dpo", "ppo"), seeds=seeds, settings=1, failed=False))
    found = points(study)
    shown = looks([(point.algorithm, False) for point in found])
    with drawing.style():
        rooms = [made for make in (*page.SECTIONS, *page.TRAINING) if (made := make(study, found, shown)) is not None]
    for room in rooms:
        for table in room.tables:
            cells = " ".join(cell for row in table.rows for cell in row)
            said = " ".join([table.caption, *room.paragraphs])
            assert not re.search(r"\[[-+]?\d", cells) or "95 %" in said or "ntervals over" in said, table.caption
        texts = [*room.paragraphs, *room.cautions, *(table.caption for table in room.tables), *(each.caption for each in room.figures)]
        assert not any("1 seeds" in text or "nan" in text.split() for text in texts)
