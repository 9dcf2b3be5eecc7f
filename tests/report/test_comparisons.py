"""The declared family: what is compared with what, what may be tested, and what joined too late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from harness.report import comparing, declared, section_comparisons
from harness.report.points import Loaded, load, points
from harness.store.records import write_json


def made(root: Path, *names: str, seeds: int, **note: Any) -> Loaded:
    study = synthetic.study(root, names or ("dpo", "ipo", "sft_chosen"), seeds=seeds, settings=1, failed=False)
    written = json.loads((study / "experiment.json").read_text())
    write_json(study / "experiment.json", written | note)
    return load(study)


def room(study: Loaded) -> Any:
    found = section_comparisons.section(study, points(study), {})
    assert found is not None
    return found


def test_six_seeds_test_one_comparison_and_the_control_is_outside(tmp_path: Path) -> None:
    study = made(tmp_path, seeds=6)
    assert comparing.baseline(study, points(study)) == "dpo"
    only, *rest = comparing.comparisons(study, points(study))
    assert (only.name, rest, only.exploratory) == ("ipo", [], False)
    assert only.verdict is not None
    assert only.verdict.testable
    assert only.verdict.family == 1
    assert only.detectable is not None
    assert only.detectable > 0
    row = room(study).tables[0].rows[0]
    assert row[2].endswith(f"] detects {100 * only.detectable:.1f}")
    assert row[3] == f"{only.verdict.adjusted:.2g} ({only.verdict.p:.2g} alone)"
    assert row[4] in ("differs, adjusted p <= 0.05", "no difference shown")


def test_the_difference_is_paired_by_seed_and_prompt(tmp_path: Path) -> None:
    study = made(tmp_path, seeds=3)
    ours, theirs = (
        np.array(
            [[row["win_sft"] for row in cell.samples() if row["mark"] == 1.0 and row["slice"] == "evaluation"] for cell in point.cells]
        )
        for point in (comparing.chosen(points(study))[name] for name in ("ipo", "dpo"))
    )
    found = comparing.comparisons(study, points(study))[0]
    assert found.difference is not None
    assert found.difference.value == pytest.approx((ours - theirs).mean())
    assert found.difference.n == ours.shape[1]
    assert found.seeds == (0, 1, 2)


def test_three_seeds_print_no_p_and_say_how_many_would_do(tmp_path: Path) -> None:
    """Two comparisons of 3 seeds: the smallest adjusted p is 2 x 2 / 8 = .5; 7 seeds give 2 x 2 / 128 = .031."""
    found = room(made(tmp_path, "dpo", "ipo", "kto", seeds=3))
    for row in found.tables[0].rows:
        assert row[3:] == ["", "not testable"]
    text = " ".join(found.paragraphs)
    assert "Not testable: the smallest adjusted p that 3 seeds can give for a family of 2 is 0.5" in text
    assert "7 seeds would allow a test" in text


def test_a_declared_baseline_is_the_one_and_one_seed_leaves_the_seed_out(tmp_path: Path) -> None:
    study = made(tmp_path, "dpo", "ipo", "kto", seeds=1, baseline="kto")
    assert {each.name for each in comparing.comparisons(study, points(study))} == {"dpo", "ipo"}
    found = room(study)
    assert "each against kto" in found.paragraphs[0]
    assert "seed not included" in found.paragraphs[0]
    assert found.tables[0].rows[0][2].endswith("]")  # no detectable difference without seeds
    assert found.tables[0].caption.endswith("n = 384 prompts, 1 seed.")


def test_seeds_have_a_column_only_where_they_differ(tmp_path: Path) -> None:
    """Three seeds of ipo and two of kto, each paired with dpo's on the seeds that both have."""
    study = made(tmp_path, "dpo", "ipo", seeds=3)
    assert "seeds" not in room(study).tables[0].headings
    for seed in range(2):
        synthetic.cell(tmp_path, "kto", 0, seed)
    table = room(load(tmp_path)).tables[0]
    assert {row[0]: row[2] for row in table.rows} == {"ipo": "3", "kto": "2"}
    assert table.headings[2] == "seeds" and table.caption.endswith("n = 384 prompts.")


def test_what_joined_after_the_plan_is_exploratory_and_does_not_dilute_the_family(tmp_path: Path) -> None:
    study = made(tmp_path, "dpo", "ipo", "kto", seeds=6, plan={"algorithms": ["dpo", "ipo"], "seeds": [0, 1, 2, 3]})
    planned, late = comparing.comparisons(study, points(study))
    assert (planned.name, planned.exploratory, late.name, late.exploratory) == ("ipo", False, "kto", True)
    assert planned.verdict is not None
    assert planned.verdict.family == 1
    assert late.verdict is None
    found = room(study)
    assert found.tables[0].rows[1][3:] == ["", "exploratory"]
    assert "Seeds 4, 5 were added after the plan" in " ".join(found.paragraphs)


def test_a_planned_algorithm_without_results_keeps_its_place(tmp_path: Path) -> None:
    study = made(tmp_path, "dpo", "ipo", seeds=6, plan={"algorithms": ["dpo", "ipo", "kto"], "seeds": list(range(6))})
    present, lost = comparing.comparisons(study, points(study))
    assert (lost.name, lost.difference, lost.reason) == ("kto", None, "no finished cell at this budget")
    assert present.verdict is not None
    assert present.verdict.family == 2
    assert not present.verdict.testable


def test_the_setting_is_chosen_by_kl_alone(tmp_path: Path) -> None:
    """Of three settings the middle one in KL, though another wins more."""
    study = load(synthetic.study(tmp_path, ("dpo", "ipo"), seeds=2, failed=False))
    assert {name: point.setting for name, point in comparing.chosen(points(study)).items()} == {"dpo": "beta=0.1", "ipo": "gap=5"}


def tuned(root: Path, scores: dict[str, tuple[float, ...]], **tuning: Any) -> Loaded:
    """Three settings of each algorithm, of which the named ones were tuned, with the tuning judge's scores of their trials."""
    study = synthetic.study(root, ("dpo", "ipo"), seeds=2, failed=False)
    for path in study.glob("cells/*/record.json"):
        record = json.loads(path.read_text())
        name, value = record["algorithm"]["name"], next(iter(record["setting"].values()))
        if name in scores:
            place = sorted({next(iter(each.record["setting"].values())) for each in load(study).cells if each.folder.name.startswith(name)})
            note = {"tuned": True, "grid": record["setting"], "score": scores[name][place.index(value)], **tuning}
            write_json(path, record | {"tuned": True, "tuning": note})
    return load(study)


def test_of_a_tuned_algorithm_the_setting_is_the_one_that_the_tuning_judge_scored_highest(tmp_path: Path) -> None:
    """Scores by falling beta and gap; the setting with the middle KL (beta .1, gap 5) has the lowest."""
    study = tuned(tmp_path, {"dpo": (0.2, 0.1, 0.3), "ipo": (0.9, 0.1, 0.3)})
    found = comparing.chosen(points(study))
    best = {name: declared.score(point) for name, point in found.items()}
    assert best == {"dpo": 0.3, "ipo": 0.9}
    assert "highest" in room(study).paragraphs[0] and "median" not in room(study).paragraphs[0]


def test_an_algorithm_that_was_not_tuned_or_was_aimed_at_a_kl_is_compared_near_the_median(tmp_path: Path) -> None:
    mixed = tuned(tmp_path / "mixed", {"dpo": (0.2, 0.1, 0.3)})
    found = comparing.chosen(points(mixed))
    assert (declared.score(found["dpo"]), found["ipo"].setting) == (0.3, "gap=5")
    assert "or, where it was not tuned," in room(mixed).paragraphs[0]
    aimed = tuned(tmp_path / "aimed", {"dpo": (0.2, 0.1, 0.3), "ipo": (0.9, 0.1, 0.3)}, targets=[{"target": 1.0}])
    assert {point.knob for point in comparing.chosen(points(aimed)).values()} == {"0.1", "5"}


def test_the_room_is_on_the_page_and_absent_where_one_algorithm_is_alone(tmp_path: Path) -> None:
    text = synthetic.text(made(tmp_path / "two", seeds=2))
    assert '<h2 id="comparisons">Comparisons</h2>' in text
    alone = made(tmp_path / "one", "dpo", seeds=2)
    assert section_comparisons.section(alone, points(alone), {}) is None


def test_the_figure_says_in_words_and_in_numbers_what_the_table_says(tmp_path: Path) -> None:
    drawn = room(made(tmp_path, "dpo", "ipo", "kto", seeds=2)).figures[0]
    first = drawn.rows[0]
    assert [row["algorithm"] for row in drawn.rows] == ["ipo", "kto"]
    assert (first["p"], first["smallest_adjusted_p"]) == (None, 1.0)
    assert f"ipo {100 * first['value']:+.1f} [{100 * first['lower']:+.1f}, {100 * first['upper']:+.1f}] points" in drawn.alternative
    labels = [tick.get_text() for tick in drawn.figure.axes[0].get_yticklabels()]
    assert labels == ["kto", "ipo"]
    assert drawn.figure.axes[0].patches[0].get_width() == pytest.approx(200 * drawn.rows[1]["detectable"])
