"""The rooms on compute: what was matched, the accounts, the order under other matches, curves over budgets and their crossings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from harness.report import matching, section_curves, section_matched
from harness.report.palette import looks
from harness.report.points import Loaded, Point, every_point, load, points
from harness.report.section import Section


def studied(root: Path, *, budgets: tuple[float, ...] = (1.0,), **changes: Any) -> Loaded:
    """DPO, KTO and PPO on two seeds at these budgets; ``changes`` are passed to the cells of KTO."""
    synthetic.study(root, ("dpo", "kto", "ppo"), seeds=2, settings=1, failed=False)
    for budget in budgets:
        for name in ("dpo", "kto", "ppo"):
            for seed in (0, 1):
                synthetic.cell(root, name, 0, seed, budget=budget, **(changes if name == "kto" else {}))
    return load(root)


def rated(study: Loaded, rates: dict[tuple[str, float], float]) -> Loaded:
    """The study with these exact win rates by algorithm and budget in units of the usual one: the first of every 128 prompts win."""
    for cell in study.cells:
        share = rates[cell.record["algorithm"]["name"], cell.record["budget"]["limit"] / synthetic.FLOPS]
        rows = cell.samples()
        for row in rows:
            row["win_sft"] = float((row["prompt_id"] % 128) / 128 < share)
        object.__setattr__(cell, "samples", lambda rows=rows: rows)
    return study


def made(study: Loaded, room: Any) -> tuple[Section, list[Point]]:
    found = points(study)
    section = room.section(study, found, looks([(point.algorithm, point.control) for point in found]))
    assert section is not None
    return section, found


def columns(section: Section, table: int) -> list[dict[str, str]]:
    grid = section.tables[table]
    return [dict(zip(grid.headings, row, strict=True)) for row in grid.rows]


def test_the_table_says_everything_that_was_used_and_what_is_matched(tmp_path: Path) -> None:
    section, found = made(studied(tmp_path), section_matched)
    rows = columns(section, 0)
    assert len(rows) == len(found) == 3
    assert section.tables[0].caption.startswith("Matched: canonical FLOPs.")
    ppo = next(row for row in rows if row["algorithm"] == "ppo")
    assert ppo["canonical FLOPs (charged)"] == "1.100e+12"
    assert ppo["executed FLOPs (charged phases)"] == "1.320e+12"
    assert (ppo["device-seconds (charged phases)"], ppo["unique pairs (count)"], ppo["trials (of tuning)"]) == ("90", "2,000", "0")
    assert "SFT 4.200e+12, sampling the pairs 2.000e+11 FLOPs" in " ".join(section.paragraphs).replace(" FLOPs,", ",")
    assert not any(value == "" for row in rows for value in row.values())


def test_a_study_that_is_not_matched_at_one_of_its_budgets_is_not_called_matched(tmp_path: Path) -> None:
    study = studied(tmp_path, budgets=(1.0, 2.0), flops=1.03 * synthetic.FLOPS)
    assert matching.widest(every_point(study)) == pytest.approx(0.03)
    section, _ = made(study, section_matched)
    assert "matched" not in section.paragraphs[0]
    assert section.tables[0].caption.startswith("Nothing here is matched.")


def test_the_reward_model_is_accounted_for_three_ways_and_pairs_are_charged_beside_it(tmp_path: Path) -> None:
    """PPO spends a quarter on its reward model; the pairs cost 2e11 and every run met all of them."""
    rows = {row["algorithm"]: row for row in columns(made(studied(tmp_path), section_matched)[0], 1)}
    ppo, dpo = rows["ppo"], rows["dpo"]
    assert [ppo[key] for key in list(ppo)[3:]] == ["1.100e+12", "1.100e+12", "8.250e+11", "1.300e+12"]
    assert [dpo[key] for key in list(dpo)[3:]] == ["1.100e+12", "1.100e+12", "1.100e+12", "1.300e+12"]


def test_a_slower_algorithm_falls_behind_at_equal_seconds_and_the_report_says_so(tmp_path: Path) -> None:
    """PPO needs 90 s where the others need 60: at 60 s it is at two thirds of its run. It is ahead of DPO by .04 only at its end."""
    study = rated(studied(tmp_path), {("dpo", 1): 0.60, ("kto", 1): 0.40, ("ppo", 1): 0.64})
    for cell in study.cells:
        if cell.record["algorithm"]["name"] == "ppo":
            rows = [row | {"win_sft": 0.5} if row["mark"] < 0.8 else row for row in cell.samples()]
            object.__setattr__(cell, "samples", lambda rows=rows: rows)
    stops = {
        name: section_matched._stops(point, every_point(study)) for name, point in zip(("dpo", "kto", "ppo"), points(study), strict=True)
    }
    levels = {name: matching.level(stops, spent) for name, spent in matching.ACCOUNTS.items()}
    assert all(not each.reason for each in levels.values())
    assert levels["device-seconds"].amount == pytest.approx(60.0)
    assert levels["canonical FLOPs"].amount == pytest.approx(synthetic.FLOPS)
    assert [(swap.first, swap.second, swap.accounts[1]) for swap in matching.swaps(levels)] == [("dpo", "ppo", "device-seconds")]
    assert levels["device-seconds"].rates["ppo"].value == pytest.approx(0.5, abs=0.01)


def test_records_without_spending_at_marks_leave_the_other_orders_empty(tmp_path: Path) -> None:
    study = studied(tmp_path)
    for cell in study.cells:
        cell.times.pop("marks")
        for checkpoint in cell.record["checkpoints"]:
            checkpoint.pop("spent")
    section, _ = made(study, section_matched)
    assert sum("is not computable" in text for text in section.paragraphs) == 2
    assert {row["at equal device-seconds"] for row in columns(section, 2)} == {"not computable"}


def test_curves_have_separate_runs_marks_and_crossings(tmp_path: Path) -> None:
    """KTO is .1 behind DPO at 1, .1 ahead at 4: they cross half-way in the logarithm, at twice the budget. PPO crosses nobody."""
    rates = {("dpo", 1.0): 0.6, ("dpo", 4.0): 0.6, ("kto", 1.0): 0.5, ("kto", 4.0): 0.7, ("ppo", 1.0): 0.2, ("ppo", 4.0): 0.2}
    section, _ = made(rated(studied(tmp_path, budgets=(4.0,)), rates), section_curves)
    kinds = {(row["algorithm"], row["budget"], row["measured at"]) for row in columns(section, 0)}
    assert {("dpo", "2epochs", "its end"), ("dpo", "8epochs", "its end"), ("dpo", "8epochs", "mark 0.5")} <= kinds
    said = {(row["first"], row["second"]): row["crossing"] for row in columns(section, 1) if row["outcome"].startswith("win rate")}
    assert said["dpo", "kto"].startswith("2.2e+12 [")
    assert "the second is ahead beyond it" in said["dpo", "kto"]
    assert said["dpo", "ppo"] == said["kto", "ppo"] == "no crossing within the measured range"
    (drawn,) = section.figures
    assert {row["kind"] for row in drawn.rows} == {"finished", "mark 0.25", "mark 0.5", "mark 0.75"}
    assert np.ptp([row["spent"] for row in drawn.rows if row["kind"] == "finished"]) == pytest.approx(3 * synthetic.FLOPS)


def test_one_budget_is_no_curve_and_the_page_says_why(tmp_path: Path) -> None:
    section, _ = made(studied(tmp_path), section_curves)
    assert section.paragraphs == [section_curves.ONE_BUDGET]
    assert len(section.tables) == 1


def level(seeds: tuple[int, ...], prompts: tuple[int, ...], values: Any) -> matching.Known:
    return matching.Known(seeds, matching.Table(prompts, np.asarray(values, dtype=float)))


def test_a_difference_pairs_by_seed_and_prompt_and_not_by_place() -> None:
    """Tables of one shape, of other seeds and prompts: only seed 1 and prompts 2 and 3 are common, on which the first is .5 ahead."""
    first = level((0, 1), (1, 2, 3), [[0, 0, 0], [0, 1, 0.5]])
    second = level((1, 2), (2, 3, 4), [[0.5, 0, 1], [1, 1, 1]])
    found = matching.difference(matching.Level(1.0, {}, {"a": first, "b": second}, ""), "a", "b")
    assert (found.value, found.n) == (pytest.approx(0.5), 2)
    apart = matching.difference(matching.Level(1.0, {}, {"a": first, "b": level((7,), (1, 2, 3), [[0, 0, 0]])}, ""), "a", "b")
    assert np.isnan(apart.value) and apart.n == 0


def test_the_room_on_compute_claims_no_order_that_its_intervals_do_not_have(tmp_path: Path) -> None:
    """Two seeds, equal rates: no interval is off 0, and the sentence counts instead of ordering."""
    study = rated(studied(tmp_path), {("dpo", 1): 0.60, ("kto", 1): 0.60, ("ppo", 1): 0.60})
    said = " ".join(made(study, section_matched)[0].paragraphs)
    assert "order by mean" not in said
    assert "of 3 pairs 0 have its interval off 0 in all of them (95 % two-way bootstrap over 2 seeds and the prompts)" in said
