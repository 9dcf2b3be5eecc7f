"""What a score may use and what it must say: no point beyond those scored, no place that nobody measured, nothing paired by position."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from test_section_frontier import edit, made, rewrite, table

from harness.report.curves import on_the_way
from harness.report.measurements import measurements
from harness.report.optimum import GOLD, WIN, optima
from harness.report.overoptimisation import courses, scale
from harness.report.points import by_algorithm, load, points
from harness.report.reach import Reach, reach
from harness.report.scores import Scores, board, efficiency, scores


def scored(study: Path, key: str = WIN) -> Scores:
    loaded = load(study)
    found = board(points(loaded), loaded.references, key)
    assert found is not None
    return scores(found, 3.0)


@pytest.mark.parametrize(("prompts", "bounded"), [(4, False), (16, True)])
def test_a_resample_without_a_prompt_of_one_half_says_nothing(tmp_path: Path, prompts: int, bounded: bool) -> None:
    """Of 4 prompts 2 / 2^4 of the resamples leave a half out, more than the 1 in 20 that bounds allow; of 16 it is 2 / 2^16."""
    loaded = load(synthetic.study(tmp_path, ("dpo", "ipo"), failed=False))
    whole = board(points(loaded), loaded.references, WIN)
    assert whole is not None
    kl, value, start = (each[..., :prompts] for each in (whole.kl, whole.value, whole.start))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scores(whole._replace(kl=kl, value=value, start=start, prompts=whole.prompts[:prompts]), 3.0)
    every = [*found.area.values(), *found.dominated.values(), *(each for each, _ in found.pairs.values())]
    assert all(np.isfinite(each.value) for each in every)
    assert {bool(np.isfinite(each.lower) and np.isfinite(each.upper)) for each in every} == {bounded}


def reaching(study: Path) -> Reach:
    return reach(points(load(study)))


def planted(study: Path, pattern: str, **values: float) -> None:
    """Set numbers of every evaluation row of some cells."""
    for folder in study.glob(f"cells/{pattern}*"):
        rewrite(folder, lambda row: row | values if row["slice"] == "evaluation" else row)


def without(study: Path, *patterns: str) -> None:
    for pattern in patterns:
        for path in study.glob(f"cells/{pattern}*/record.json"):
            path.unlink()


def lonely(root: Path) -> Path:
    """Ipo has one point and so dpo is scored on its middle one, of KL 2.1."""
    study = synthetic.study(root, ("dpo", "ipo"), failed=False)
    without(study, "ipo-gap=1-", "ipo-gap=20-")
    return study


def test_an_envelope_ends_at_the_last_point_that_is_scored(tmp_path: Path) -> None:
    found = scored(lonely(tmp_path))
    assert found.points == 1
    assert found.ends["dpo"] == pytest.approx((2.1, 2.1), rel=0.05)
    assert {kl for name, kl in found.at if name == "dpo"} == set()  # 0.5 and 1 lie before the point, 4 beyond it
    assert found.pairs["dpo", "ipo"][1] == pytest.approx(found.ends["ipo"][1])
    row = next(row for row in table(made(tmp_path), "Envelopes of win rate").rows if row[0] == "dpo")
    assert row[2].startswith("flat from 2.") and row[3].startswith("(KL begins at 2.") and row[-2].startswith("(KL ends at 2.")


def test_a_point_is_held_against_the_rivals_points_that_are_scored(tmp_path: Path) -> None:
    """Dpo's first point beats ipo's; it is not among those scored, and the one that is has more KL."""
    study = lonely(tmp_path)
    planted(study, "dpo-beta=0.5-", win_sft=0.99)
    found = scored(study)
    assert found.dominated["ipo"].value == 0
    assert set(scored(synthetic.study(tmp_path / "alone", ("dpo",), failed=False)).dominated) == set()


def test_the_rival_of_a_point_is_chosen_on_other_prompts(tmp_path: Path) -> None:
    """Dpo wins the even prompts and loses the odd ones, ipo the other way: whichever was chosen loses where it is asked again."""
    study = synthetic.study(tmp_path, ("dpo", "ipo", "kto"), settings=1, failed=False)
    planted(study, "kto", kl=0.5, win_sft=0.5)
    for name, won in (("dpo", 0), ("ipo", 1)):
        for folder in study.glob(f"cells/{name}*"):
            rewrite(folder, lambda row, won=won: row | {"kl": 0.3, "win_sft": float(row["prompt_id"] % 2 == won)})
    assert scored(study).dominated["kto"].value == 0


def straddling(root: Path, wins: int, seeds: int = 1) -> Path:
    """One dpo run whose end wins ``wins`` of 384 prompts and whose marks win half."""
    study = synthetic.study(root, ("dpo",), seeds=seeds, settings=1, failed=False)

    def change(row: dict[str, Any]) -> dict[str, Any]:
        won = row["prompt_id"] < wins if row["mark"] == 1 else row["prompt_id"] % 2
        return row | {"win_sft": float(won)} if row["slice"] == "evaluation" else row

    for folder in study.glob("cells/dpo*"):
        rewrite(folder, change)
    return study


def test_resamples_that_never_win_enough_leave_the_bound_open(tmp_path: Path) -> None:
    """238 of 384 are .620 with a standard error of .0248: .6 is missed by 21 % of resamples, which used to be left out."""
    study = straddling(tmp_path, 238)
    found = reaching(study).levels["dpo"][0.6]
    assert found.flops.value == pytest.approx(synthetic.FLOPS) and found.mark is None
    assert np.isinf(found.flops.upper) and np.isfinite(found.flops.lower)
    assert found.share == pytest.approx(0.79, abs=0.05)
    cell = table(made(study), "Charged canonical FLOPs").rows[0][1]
    assert ", never] (beta=0.5, end of its budget; not reached in 2" in cell and cell.endswith("% of resamples)")


def test_what_is_not_reached_may_be_within_its_interval(tmp_path: Path) -> None:
    study = straddling(tmp_path, 225)  # .586, under .6 by half a standard error
    found = reaching(study).levels["dpo"]
    assert np.isinf(found[0.6].flops.value) and np.isfinite(found[0.6].flops.lower)
    assert 0.1 < found[0.6].share < 0.5
    assert np.isinf(found[0.8].flops.lower) and found[0.8].share == 0
    row = table(made(study), "Charged canonical FLOPs").rows[0]
    assert row[1].startswith("(not reached; highest 0.59) [1.10e+12, never] not reached in ") and row[3] == "(not reached; highest 0.59)"


def test_the_bounds_of_a_place_are_places_that_were_measured(tmp_path: Path) -> None:
    """With two seeds the factor is 9: multiplied onto FLOPs it gave bounds between and beyond all that was measured."""
    study = synthetic.study(tmp_path, ("dpo",), seeds=2, failed=False)
    spent = {round(each["spent"]["canonical"]) for path in study.glob("cells/*") for each in synthetic.read_record(path)["checkpoints"]}
    found = [each.flops for level in reaching(study).levels.values() for each in level.values()]
    bounds = [bound for each in found for bound in (each.lower, each.value, each.upper) if np.isfinite(bound)]
    assert bounds and {round(bound) for bound in bounds} <= spent
    assert all(each.lower <= each.value <= each.upper for each in found)


def test_compute_is_flops_whatever_was_matched(tmp_path: Path) -> None:
    """Matched on pairs, half of them at the mark, for which a tenth of the FLOPs were spent; the mark came a step late, at .26."""
    study = synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    planted(study, "dpo", win_sft=0.9)

    def change(record: dict[str, Any]) -> None:
        record["budget"] |= {"match": "pairs", "limit": 4000}
        record["checkpoints"][0] |= {"share": 0.26, "spent": {"canonical": 1.5e11, "executed": 2e11}}

    edit(study, "cells/dpo*", change)
    found = reaching(study).levels["dpo"][0.8]
    assert found.mark == 0.25 and found.flops.value == pytest.approx(1.5e11)
    assert on_the_way(points(load(study)), WIN)[0].amount == pytest.approx(0.26 * 4000)
    edit(study, "cells/dpo*", lambda record: record["checkpoints"][0].pop("spent") and None)
    older = reaching(study)
    assert older.levels["dpo"][0.8].mark == 0.5 and older.left_out == ["marks of dpo beta=0.5 (FLOPs not recorded)"]


def test_one_point_s_missing_seed_does_not_hide_the_others(tmp_path: Path) -> None:
    """Of three points with three seeds the first lacks one: it alone is left out, by name. With one more seed the seed is named."""
    study = synthetic.study(tmp_path, ("dpo",), seeds=3, failed=False)
    without(study, "dpo-beta=0.5-seed1", "dpo-beta=0.5-seed2")
    found = measurements(points(load(study)), (WIN,))
    assert found.seeds == (0, 1, 2)
    assert {each.point.setting for each in found.found} == {"beta=0.1", "beta=0.03"}
    assert list(found.left_out) == ["dpo beta=0.5 2epochs (seeds 1, 2 missing)"]
    synthetic.cell(study, "dpo", 1, 3)
    more = measurements([point for point in points(load(study)) if point.setting != "beta=0.5"], (WIN,))
    assert more.seeds == (0, 1, 2) and list(more.left_out) == ["dpo beta=0.1 2epochs's seed 3 (other runs lack it)"]


def test_a_resample_without_a_prompt_of_a_mark_is_no_warning(tmp_path: Path) -> None:
    """The mark measured 2 of 384 prompts, which a resample leaves out with a chance of e^-2."""
    study = synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    for folder in study.glob("cells/dpo*"):
        rewrite(folder, lambda row: row | {"slice": "other"} if row["mark"] == 0.5 and row["prompt_id"] > 1 else row)
    assert all(0 <= each.share <= 1 for each in reaching(study).levels["dpo"].values())


def test_marks_are_placed_by_the_ids_of_their_prompts(tmp_path: Path) -> None:
    """The mark measured prompts 256 to 383, which are not the first of the end's."""
    study = synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)

    def change(row: dict[str, Any]) -> dict[str, Any]:
        late = row["slice"] == "evaluation" and row["mark"] == 0.5
        return row | {"prompt_id": row["prompt_id"] + 256, "win_sft": 1.0} if late else row

    for folder in study.glob("cells/dpo*"):
        rewrite(folder, change)
    mark = next(each for each in measurements(points(load(study)), (WIN,)).found if each.mark == 0.5)
    assert mark.seen[0].nonzero()[0].tolist() == list(range(256, 384))
    assert mark.values[0, 0, 256:].all() and not mark.values[0, 0, :256].any()


def test_gains_are_over_the_reference_of_the_same_seed(tmp_path: Path) -> None:
    """Only seed 1 finished; the reference of seed 0 has 5 more gold, which is not its."""
    study = synthetic.study(tmp_path, ("dpo",), seeds=2, settings=2, failed=False)
    without(study, "dpo-beta=0.5-seed0", "dpo-beta=0.1-seed0")
    planted(study, "dpo", gold=3.2)
    raised = {"gold": 5.0}
    rewrite(
        study / "references" / "seed0", lambda row: row | {k: [v + raised[k] for v in row[k]] for k in raised if row["slice"] == "frontier"}
    )
    loaded = load(study)
    measured = scale(loaded.references)
    assert measured is not None and measured.seeds == (0, 1)
    found = courses(points(loaded), measured)
    assert [spot.gold for spot in found.by_name["dpo"].spots] == pytest.approx([1 / measured.spread(GOLD)] * 8, abs=0.25)
    assert not found.left_out


def test_what_shares_nothing_with_the_reference_is_left_out_by_name(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    rewrite(study / "references" / "seed0", lambda row: row | {"prompt_id": row["prompt_id"] + 1000} if row["slice"] == "frontier" else row)
    loaded = load(study)
    measured = scale(loaded.references)
    assert measured is not None
    found = courses(points(loaded), measured)
    assert not found.by_name and found.left_out == ["dpo (0 measurements on the reference's seeds and prompts)"]


def test_efficiency_pairs_by_ids_of_seeds_and_prompts(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo",), seeds=2, settings=1, failed=False)
    planted(study, "dpo", kl=0.3)
    loaded = load(study)
    found, line = board(points(loaded), loaded.references, GOLD), optima(loaded.references)[GOLD]
    assert found is not None and line.kl is not None and line.value is not None
    (expected,) = efficiency(found, line).values()
    turned = line._replace(kl=line.kl[:, ::-1], value=line.value[:, ::-1], seeds=line.seeds[::-1])
    assert list(efficiency(found, turned).values()) == [expected]
    elsewhere = line._replace(prompts=tuple(prompt + 1000 for prompt in line.prompts))
    assert list(efficiency(found, elsewhere).values()) == ["no samples of the reference for these prompts"]
    assert list(efficiency(found, line._replace(seeds=(0, 7))).values()) == ["no samples of the reference for seed 1"]


def test_axes_that_lack_different_points_keep_their_rows_apart(tmp_path: Path) -> None:
    """Dpo's first point has no gold: the other points' efficiencies of gold used to be looked up one place off."""
    study = synthetic.study(tmp_path, ("dpo", "kto"), settings=2, failed=False)
    for folder in study.glob("cells/dpo-beta=0.5*"):
        rewrite(folder, lambda row: {key: value for key, value in row.items() if key != "gold"})
    section = made(study)
    rows = table(section, "Efficiency").rows
    assert [row[-1] == "(not scored)" for row in rows] == [True, False, False, False]
    pair = table(section, "Differences of mean envelopes").rows[0]
    assert pair[0] == "dpo - kto" and all(pair[2:])


def test_every_algorithm_of_a_study_keeps_its_measurements(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo", "ppo"), seeds=2, failed=False)
    groups = by_algorithm(points(load(study)))
    assert {name: len(measurements(group, (WIN,)).found) for name, group in groups.items()} == {"dpo": 12, "ppo": 9}
