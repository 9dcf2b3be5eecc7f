"""The first screen: it says what was compared, and ranks nothing that the seeds cannot decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from harness.measure.statistics import Interval
from harness.measure.statistics.significance import verdicts
from harness.report.comparing import Comparison
from harness.report.overview import _against, overview
from harness.report.points import load, points


def said(root: Path, names: tuple[str, ...] = ("dpo", "kto", "sft_chosen"), **options: Any) -> tuple[str, list[str], list[list[str]]]:
    """The lead, the answers, and the rows of the table as texts."""
    loaded = load(synthetic.study(root, names, settings=1, failed=False, **options))
    found = overview(loaded, points(loaded))
    lines = found.table.lines if found.table else []
    return found.lead, found.answers, [[line.name, *(each.text or each.reason for each in line.values)] for line in lines]


def test_the_lead_says_what_was_compared_at_what_compute(tmp_path: Path) -> None:
    lead, _, _ = said(tmp_path, seeds=2)
    assert lead.startswith("2 algorithms and 1 control at 3 settings, 2 seeds, each trained for 1.1e+12 canonical FLOPs (2epochs) from")
    assert "tiny-128, 841,216 parameters" in lead
    assert "on 384 prompts. Compute is matched" in lead


@pytest.mark.parametrize("seeds", [1, 3])
def test_few_seeds_rank_nothing(tmp_path: Path, seeds: int) -> None:
    """One comparison takes 6 seeds before a sign-flip test can reach p .05: 2 / 2^6."""
    _, answers, rows = said(tmp_path, seeds=seeds)
    assert answers[1].startswith(f"Among the algorithms nothing is ranked: {seeds} seed{'s' * (seeds > 1)} cannot decide a test.")
    assert [row[0] for row in rows] == ["dpo", "kto", "sft_chosen"]
    assert "above: dpo" in answers[0]
    assert "undecided: sft_chosen" in answers[0] or seeds > 1
    assert [row[2] for row in rows][::2] == ["baseline", "not ranked"]


def test_enough_seeds_name_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(synthetic.PEAK, "kto", 0.2)
    _, answers, _ = said(tmp_path, ("dpo", "kto"), seeds=6)
    assert answers[1].startswith("Differ from dpo in win rate (adjusted p <= 0.05): kto -")
    assert "below: kto" in answers[0] and "above: dpo" in answers[0]


def test_enough_seeds_without_a_difference_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(synthetic.PEAK, "kto", synthetic.PEAK["dpo"])
    monkeypatch.setitem(synthetic.KL, "kto", synthetic.KL["dpo"])
    _, answers, _ = said(tmp_path, ("dpo", "kto"), seeds=6)
    assert answers[1].startswith("No algorithm is shown to differ from dpo in win rate (1 tested)")


def test_one_algorithm_and_none(tmp_path: Path) -> None:
    assert said(tmp_path / "one", ("dpo",))[1][1] == "One algorithm finished: there is none to rank it against."
    lead, answers, rows = said(tmp_path / "none", ())
    assert (lead, answers, rows) == ("No cell finished.", ["Nothing was found: no cell finished."], [])


def test_the_cautions_come_before_what_was_found(tmp_path: Path) -> None:
    text = synthetic.undrawn(synthetic.study(tmp_path, ("dpo", "kto"), settings=1, failed=False))
    places = [text.index(each) for each in ("What may not be concluded", "What was found", 'id="frontier"', 'id="results"')]
    assert places == sorted(places)


def test_what_the_task_says_of_itself_comes_before_any_number(tmp_path: Path) -> None:
    root = synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    (root / "experiment.json").write_text(json.dumps({"task": "toy", "notes": ["The judge is a <reward model>."]}))
    text = synthetic.undrawn(root)
    assert text.count("The judge is a &lt;reward model&gt;.") == 2  # the second in the resolved experiment
    assert text.index("The judge is a") < text.index("What may not be concluded")


def test_a_runs_text_in_the_lead_is_text(tmp_path: Path) -> None:
    root = synthetic.study(tmp_path, ("dpo", "kto"), settings=1, failed=False)
    for path in root.glob("cells/*/record.json"):
        record = json.loads(path.read_text())
        record["model"]["name"] = "<img src=x onerror=alert(1)>\x1b[2J"
        path.write_text(json.dumps(record))
    text = synthetic.undrawn(root)
    assert "<img" not in text
    assert r"&lt;img src=x onerror=alert(1)&gt;\x1b[2J" in text


def test_what_has_not_converged_is_not_blamed_on_the_seeds() -> None:
    """Eight seeds decide a test; of a pair of which one still learns it is left out, and that is the reason that is given."""
    (verdict,) = verdicts([np.full(8, 0.1)], generator=np.random.default_rng(0))
    assert verdict.testable
    held = Comparison("kto", "beta=1", tuple(range(8)), Interval(0.1, 0.05, 0.15, 384), verdict, rising=True)
    said = _against([held], "dpo", {})
    assert said == "Among the algorithms nothing is ranked. Not ranked, as it or dpo has not converged: kto."
    (even,) = verdicts([np.array([0.1, -0.1] * 4)], generator=np.random.default_rng(0))
    tested = _against([held._replace(name="ipo", verdict=even, rising=False), held], "dpo", {})
    assert tested.startswith("No algorithm is shown to differ from dpo") and tested.endswith("has not converged: kto.")
