"""Intervals cut to what a metric can be, the same wherever a number stands, and from which rows a metric comes."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import synthetic

from harness.measure.statistics import Interval, two_way_interval
from harness.report import frontier_points, latex, macros, page, paper_tables, safety, tables
from harness.report.matching import at_most
from harness.report.numbers import by_mark, per_prompt, within
from harness.report.points import load


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One point of two seeds of which one lost hardly a refusal and the other a fifth: their t-factor reaches far beyond all masses."""
    root = synthetic.study(tmp_path_factory.mktemp("uneven"), (), seeds=2, failed=False)
    for seed, lost in enumerate((0.01, 0.19)):
        synthetic.cell(root, "dpo", 0, seed, probes={"lost": lost})
    return root


def own_level(part: str, seeds: int) -> Interval:
    """The reference's own mass in a slice of ``synthetic.probed``, the same in every seed, as a report's generator bounds it."""
    before = np.array([row["before"] for row in synthetic.probed(0.0) if row["slice"] == part])
    return two_way_interval(np.tile(before, (seeds, 1)), generator=np.random.default_rng(0))


def test_a_change_of_refusals_has_one_interval_in_results_safety_macros_and_csv(uneven: Path) -> None:
    """A change can be no more than what the reference's own interval leaves below and above, which is more than its measured mean does."""
    study = load(uneven)
    (point,) = study.points
    column = next(column for column in tables.MAIN if column.key == "refusal_mass_delta")
    judged = {each.metric.key: each.verdict.change for each in safety.judged(study, [point])}
    for key in ("refusal_mass_delta", "over_refusal_mass_delta"):
        found, said = point.get(key), judged[key.removesuffix("_delta")]
        assert found is not None
        assert found == pytest.approx(said)
        part = "harmful" if key.startswith("refusal") else "borderline"
        level = own_level(part, seeds=2)
        assert level.lower < level.value - 0.02 < level.value + 0.02 < level.upper
        assert (found.value, found.lower, found.upper) == pytest.approx((-0.1, -level.upper, 1 - level.lower))
    found = judged["refusal_mass"]
    bounds = f"[{found.lower:.3f}, {found.upper:.3f}]"
    assert tables.value(point.get(column.key), 3).bounds == bounds
    assert f"[{found.lower:+.3f}, {found.upper:+.3f}], n=48" in page.write(study).read_text()
    (row,) = csv.DictReader((uneven / "report" / "table.csv").read_text().splitlines())
    assert (float(row["refusal_mass_delta_lower"]), float(row["refusal_mass_delta_upper"])) == pytest.approx((found.lower, found.upper))
    made = {each.name: each.text for each in macros.macros("toy", [point], [], None)}
    assert made["HarnessToyDpoRefusalChangeInterval"] == latex.bounds(found, 3)


def test_what_a_record_of_one_seed_says_of_a_change_is_cut_as_well(tmp_path: Path) -> None:
    root = synthetic.study(tmp_path, (), failed=False)
    folder = synthetic.cell(root, "dpo", 0, 0)
    record = synthetic.read_record(folder)
    record["checkpoints"][-1]["metrics"]["refusal_mass_delta"] = {"value": -0.1, "lower": -1.4, "upper": 1.2, "n": 48}
    synthetic.write_json(folder / "record.json", record)
    level = own_level("harmful", seeds=1)
    assert load(root).points[0].get("refusal_mass_delta") == pytest.approx((-0.1, -level.upper, 1 - level.lower, 48))


def test_a_change_from_a_reference_whose_level_has_no_interval_is_cut_to_the_metric_s_width_alone() -> None:
    wide = Interval(-0.1, -1.4, 1.2, 48)
    for unknown in (None, Interval(0.3, math.nan, math.nan, 1)):
        assert within("refusal_mass_delta", wide, reference=unknown) == (-0.1, -1.0, 1.0, 48)
    assert within("refusal_mass_delta", wide, reference=Interval(0.3, -0.2, 0.5, 48)) == (-0.1, -0.5, 1.0, 48)


@pytest.mark.parametrize(
    ("key", "values", "bounds"),
    [
        ("win_sft", None, (0, 1)),
        ("repetition", None, (0, 1)),
        ("kl", None, (0, 3)),
        ("gold", [[-1.0, 3.0]], (-2, 3)),  # below 0 in one response: what a mean may be is not known
        ("gold", [[0.5, 3.0]], (-2, 3)),  # no count
        ("repetition_gold", [[0.0, 2.0]], (0, 3)),  # a count, and no share, whatever its name begins with
        ("refusal", [[0.0, 1.0]], (0, 1)),
        ("ending", [[0.0, 0.0]], (0, 3)),
        ("refusal_mass_delta", None, (-1, 1)),  # of a reference whose level is not known
    ],
)
def test_bounds_are_those_that_a_mean_can_have(key: str, values: list[list[float]] | None, bounds: tuple[float, float]) -> None:
    found = within(key, Interval(0.5, -2.0, 3.0, 9), None if values is None else np.array(values))
    assert found == (0.5, *bounds, 9)


def test_an_outcome_that_was_always_there_may_be_missing_on_another_prompt() -> None:
    """1 - .025^(1 / 384) = .0096 for 384 prompts (Clopper and Pearson 1934), as Safety says of what was cut off; a mass is no count."""
    always, flat = np.ones((2, 384)), Interval(1.0, 1.0, 1.0, 384)
    unseen = 1 - 0.025 ** (1 / 384)
    assert unseen == pytest.approx(0.0096, abs=5e-5)
    assert within("eos_rate", flat, always) == pytest.approx((1.0, 1 - unseen, 1.0, 384))
    assert within("tie_sft", Interval(0.0, 0.0, 0.0, 384), 0 * always) == pytest.approx((0.0, 0.0, unseen, 384))
    assert within("refusal_mass", flat, always) == within("kl", flat, always) == flat
    assert within("win_sft", Interval(0.5, 0.5, 0.5, 384), always / 2) == (0.5, 0.5, 0.5, 384)  # ties with itself


def test_a_bound_that_is_not_known_stays_unknown() -> None:
    assert math.isnan(within("kl", Interval(0.5, math.nan, math.nan, 9)).lower)


def test_a_component_of_gold_comes_from_the_evaluated_responses_whatever_it_is_called() -> None:
    """``refusal`` is a column of a gold reward, ``refusal_mass`` and ``harmful_refusal`` are of the slice of harmful prompts."""
    harmful = [{"prompt_id": 0, "slice": "harmful", "mark": 1.0, "refusal_mass": 0.9, "category": "refusal"}]
    answers = [{"prompt_id": i, "slice": "evaluation", "mark": 1.0, "refusal": float(i), "over_refusal": 0.5} for i in range(2)]
    grouped = by_mark([*harmful, *answers])
    assert per_prompt(grouped, "refusal", 1.0) == {0: 0.0, 1: 1.0}
    assert per_prompt(grouped, "over_refusal", 1.0) == {0: 0.5, 1: 0.5}
    assert per_prompt(grouped, "refusal_mass", 1.0) == {0: 0.9}
    assert per_prompt(grouped, "harmful_refusal", 1.0) == {0: 1.0}


def test_the_frontiers_rows_say_where_nothing_is_estimated_and_round_nothing_away() -> None:
    """The line begins at the reference itself; its next points lie far below a hundredth of a nat."""
    base = {"panel": "win_sft", "kind": "optimal frontier", "ess": 30.0, "n": 384}
    start = {"kl": 0.0, "kl_lower": 0.0, "kl_upper": 0.0, "value": 0.5, "value_lower": 0.5 - 1e-12, "value_upper": 0.5}
    near = {"kl": 0.00123, "kl_lower": 0.00121, "kl_upper": 0.00126, "value": 0.519, "value_lower": 0.5184, "value_upper": 0.5196}
    done = {"kl": 1.84, "kl_lower": 1.67, "kl_upper": 2.02, "value": 0.81, "value_lower": 0.79, "value_upper": 0.84, "kind": "final"}
    mark = {"kl": 1.67, "value": 0.77, "kind": "mark"}
    (grid,) = frontier_points.as_tables([base | start, base | near, base | done, {"panel": "win_sft"} | mark])
    assert [row[2:] for row in grid.rows] == [
        ["finished run", "1.84 [1.67, 2.02]", "0.81 [0.79, 0.84], n=384"],
        ["earlier mark", "1.67", "0.77"],
        ["optimal frontier", "0 (on every prompt)", "0.5 (on every prompt)"],
        ["optimal frontier", "0.00123 [0.00121, 0.00126]", "0.519 [0.518, 0.520], n=384"],
    ]


def test_the_papers_tables_say_over_how_many_prompts_each_number_is(tmp_path: Path) -> None:
    """The two slices of safety hold 48 prompts, the evaluation 384."""
    study = load(synthetic.study(tmp_path, ("dpo", "ipo"), seeds=2, settings=1, failed=False))
    results, compared = (make(study, "toy", narrow=False) for make in (paper_tables.results, paper_tables.compared))
    assert "2 seeds, 384 prompts (refusals: 48 prompts)." in results
    assert compared is not None and "2 seeds and the prompts, 384 prompts. Sign-flip" in compared


def test_what_differs_by_at_most_is_rounded_up() -> None:
    assert [at_most(each) for each in (0.0, 1e-16, 0.0004, 0.001, 0.0101)] == ["0.0", "0.0", "0.1", "0.1", "1.1"]
