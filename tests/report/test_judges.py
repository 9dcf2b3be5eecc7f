"""The room on judges: what they share with what was trained, and which conclusions hold under every one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.measure import lineage
from harness.measure.lineage import Lineage
from harness.measure.statistics import Interval
from harness.report import findings, section_judges
from harness.report.palette import looks
from harness.report.points import load, points
from tests.report import synthetic

GOLD = Lineage(weights="gold of toy, version 1", labeller="gold of toy")
SECOND = Lineage(weights="gold_b of toy, version 1", labeller="gold_b of toy")
LEARNT = Lineage(start="sft", data=("pairs 1",), labeller="gold of toy")


def judge(primary: str = "gold", **lineages: Lineage) -> dict[str, Any]:
    others = [name for name in ("gold", "gold_b") if name != primary]
    found = {"gold": GOLD, "gold_b": SECOND, "pairs": LEARNT} | lineages
    return {"primary": primary, "others": others, "lineage": {name: each.plain() for name, each in found.items()}}


def study(root: Path, **flags: Any) -> Path:
    return synthetic.study(root, ("dpo", "ipo"), settings=1, failed=False, **{"judge": judge(), "reward": LEARNT.plain(), **flags})


def section(root: Path) -> Any:
    found = load(root)
    shown = points(found)
    return section_judges.section(found, shown, looks([(point.algorithm, point.control) for point in shown]))


def test_what_judge_and_reward_share_is_told_apart() -> None:
    fitted = Lineage("j", "sft", ("pairs 1",), "people")
    assert lineage.error(GOLD, GOLD) == "the judge is the reward that it was trained on (gold of toy, version 1)"
    assert lineage.error(GOLD, SECOND) == lineage.error(Lineage(), Lineage()) == ""
    assert lineage.caveats(GOLD, LEARNT) == ["the labeller gold of toy"]
    assert lineage.caveats(fitted, LEARNT) == ["the training data pairs 1", "the weights that they were trained from (sft)"]
    assert lineage.caveats(SECOND, LEARNT) == []


def test_a_lineage_survives_its_record_and_a_foreign_one_is_none() -> None:
    assert lineage.read(json.loads(json.dumps(LEARNT.plain()))) == LEARNT
    assert lineage.read(None) is None
    assert lineage.read({"data": "text", "weights": 3}) == Lineage(weights="3")


def test_a_shared_labeller_is_a_caveat_that_asks_for_a_second_judge(tmp_path: Path) -> None:
    found = section(study(tmp_path / "a"))
    assert found.cautions == (
        ["The judge gold and what dpo, ipo learned from share the labeller gold of toy: a second judge is recorded beside it, see Judges."]
    )
    assert section(study(tmp_path / "b", judge=judge("gold_b"))).cautions == []
    alone = {**judge(), "others": []}
    assert "ask a second judge before believing it" in section(study(tmp_path / "c", judge=alone)).cautions[0]


def test_a_cell_trained_on_its_judge_is_left_out_unless_it_is_declared_an_oracle(tmp_path: Path) -> None:
    root = study(tmp_path)
    synthetic.cell(root, "kto", 0, 0, judge=judge(), reward=GOLD.plain())
    found = load(root)
    assert [point.algorithm for point in points(found)] == ["dpo", "ipo"]
    assert "the judge is the reward that it was trained on" in found.skipped[0] and found.skipped[0].startswith("kto-")
    assert "1 not readable or not poolable" in str(findings.counts(found))


def test_without_a_declared_judge_there_is_no_room(tmp_path: Path) -> None:
    assert section(synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)) is None


def interval(value: float, half: float) -> Interval:
    return Interval(value, value - half, value + half, 100)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (interval(0.1, 0.05), interval(0.2, 0.05), "above 0 under all"),
        (interval(-0.1, 0.05), interval(-0.2, 0.05), "below 0 under all"),
        (interval(0.1, 0.05), interval(0.02, 0.05), "only under some"),
        (interval(0.1, 0.05), interval(-0.1, 0.05), "reversed"),
        (interval(0.0, 0.05), interval(0.01, 0.05), "undecided under all"),
        (interval(0.1, 0.05), None, "only under some"),
        (interval(0.1, np.nan), interval(0.2, 0.05), "only under some"),
    ],
)
def test_a_conclusion_holds_only_where_every_judge_decides_alike(first: Interval, second: Interval | None, said: str) -> None:
    assert section_judges.verdict([first, second]) == said


def test_the_pairs_are_compared_under_both_judges_from_the_same_rows(tmp_path: Path) -> None:
    """Under the second judge every win of dpo is a loss: the pair must be undecided or turn, never agree by copying the first."""
    root = synthetic.study(
        tmp_path, ("dpo", "ipo"), settings=1, failed=False, judge=judge(), reward=LEARNT.plain(), second={"dpo": 0.9, "ipo": 0.1}
    )
    (grid,) = [table for table in section(root).tables if table.headings[0] == "pair"]
    ((pair, first, second, said),) = grid.rows
    assert pair.startswith("dpo") and said in ("only under some", "above 0 under all")
    assert second.startswith("+0.7") or second.startswith("+0.8")
    assert "n=384" in first and "n=384" in second
    summary = section(root).paragraphs[1]
    assert summary.startswith(
        "1 pair of algorithms at one setting each. Interval of the difference without 0 under at least one judge: 1; "
    )
    assert (
        f"under all judges: {int(said == 'above 0 under all')}, under some only: {int(said == 'only under some')}, reversed: 0." in summary
    )


def test_a_summary_of_judges_without_a_decided_pair_says_so_and_counts_no_kinds() -> None:
    """Two algorithms of the same outcomes: no interval leaves out 0. Of pairs that have not converged nothing is said at all."""
    alike = [Interval(0.0, -0.1, 0.1, 9)] * 2
    (summary,) = section_judges._summary([("dpo 1 - ipo 1", alike), ("dpo 1 - kto 1", alike)], judge())
    assert summary.startswith("2 pairs of algorithms at one setting each. Under no judge does the interval of a difference leave out 0:")
    (summary,) = section_judges._summary([(f"dpo{section_judges.NOT_CONVERGED} 1 - ipo 1", alike)], judge())
    assert summary == "No pair of algorithms is compared under the judges. Not converged and not counted: 1."
