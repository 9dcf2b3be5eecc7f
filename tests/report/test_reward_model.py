"""The page's room on reward models: what it says where one pays for a worse text, and what it must not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import synthetic

from harness.report import provenance
from harness.report.points import load, points
from harness.report.section import Section
from harness.report.section_reward_model import NO_PROBES, section

NAME = "padding after the end"


def diagnosed(root: Path, *, score: tuple[float, float], judge: tuple[float, float], pooling: str = "sum", **more: Any) -> Section | None:
    """The room of a study of PPO at two settings whose reward model moved so, value and half-width, on one twin."""
    twins = {NAME: {"score": synthetic.interval(*score, 300), "judge": synthetic.interval(*judge, 300)}}
    probes = {"pooling": pooling, "judge": "gold", "twins": twins}
    found = {"reward_accuracy": synthetic.interval(0.74, 0.05, 256), "reward_log_loss": synthetic.interval(0.55, 0.02, 256)}
    synthetic.study(root, ("dpo",), settings=1, failed=False)
    for index in range(2):
        synthetic.cell(root, "ppo", index, 0, diagnostics={**found, "reward_probes": probes, **more})
    loaded = load(root)
    return section(loaded, points(loaded), {})


def test_a_fooled_reward_model_is_named_and_alarms(tmp_path: Path) -> None:
    room = diagnosed(tmp_path, score=(0.8, 0.1), judge=(-0.3, 0.05))
    assert room is not None
    assert [alarm for _, alarm in room.alarms] == [
        f"reward model pays for {NAME}: +0.800 [+0.700, +0.900], n=300; the judge: -0.300 [-0.350, -0.250], n=300"
    ]
    assert f"pays for what the judge takes off: {NAME} (sum pooling)" in room.paragraphs[1]


@pytest.mark.parametrize(
    ("score", "judge"),
    [((-0.8, 0.1), (-0.3, 0.05)), ((0.08, 0.1), (-0.3, 0.05)), ((0.8, 0.1), (-0.03, 0.05)), ((0.8, 0.1), (0.0, 0.0))],
)
def test_one_that_is_not_shown_to_be_fooled_does_not_alarm(tmp_path: Path, score: tuple[float, float], judge: tuple[float, float]) -> None:
    room = diagnosed(tmp_path, score=score, judge=judge)
    assert room is not None
    assert list(room.alarms) == []
    assert "other ways to be fooled were not tried" in room.paragraphs[1]


def test_settings_that_fitted_one_model_share_a_row(tmp_path: Path) -> None:
    """The reward model comes before the knob matters: two KL coefficients of a seed trained on the same one."""
    room = diagnosed(tmp_path, score=(0.8, 0.1), judge=(-0.3, 0.05), pooling="last")
    assert room is not None
    quality, twins = room.tables
    assert quality.rows == [["ppo", "kl=0.5; kl=0.1", "0", "last", "0.740 [0.690, 0.790], n=256", "0.550 [0.530, 0.570], n=256"]]
    assert len(twins.rows) == 1


def test_an_accuracy_recorded_without_bounds_gets_those_of_its_pairs(tmp_path: Path) -> None:
    """statsmodels.stats.proportion.proportion_confint(180, 256, method="wilson"): 0.6445, 0.7556; a log loss is no share."""
    older = {"reward_accuracy": 180 / 256, "reward_log_loss": 0.55, "reward_confidence": 0.73, "reward_heldout_pairs": 256.0}
    room = diagnosed(tmp_path, score=(0, 1), judge=(0, 1), **older)
    assert room is not None
    assert room.tables[0].rows[0][4:6] == ["0.703 [0.644, 0.756], n=256", "0.550 [no bounds], n=256"]
    loaded = load(tmp_path)
    told = provenance.diagnostics(loaded, points(loaded))
    assert told is not None
    shown = {row[3]: row[4] for row in told.rows}
    assert "reward accuracy" not in shown  # the room has it
    assert (shown["reward confidence"], shown["reward heldout pairs"]) == ("0.730 [no bounds], n=256", "256")


def test_an_auc_stands_beside_what_pairs_would_have(tmp_path: Path) -> None:
    """A reward model of single labels has no accuracy; the column is there for those alone."""
    synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    found = {"reward_auc": synthetic.interval(0.7, 0.1, 90), "reward_heldout_responses": 120.0}
    synthetic.cell(tmp_path, "ppo", 0, 0, diagnostics=found)
    loaded = load(tmp_path)
    room = section(loaded, points(loaded), {})
    assert room is not None
    assert room.tables[0].headings[-1] == "AUC on held-out labels"
    assert room.tables[0].rows[0][-3:] == ["not measured", "not measured", "0.700 [0.600, 0.800], n=90"]
    told = provenance.diagnostics(loaded, points(loaded))
    assert told is not None
    assert [row[3:] for row in told.rows] == [("reward heldout responses", "120")]


@pytest.mark.parametrize(("more", "units"), [({}, "pairs"), ({"reward_heldout_prompts": 64.0}, "prompts")])
def test_n_is_called_what_it_counts(tmp_path: Path, more: dict[str, float], units: str) -> None:
    room = diagnosed(tmp_path, score=(0, 1), judge=(0, 1), reward_confidence=0.73, reward_heldout_pairs=256.0, **more)
    loaded = load(tmp_path)
    told = provenance.diagnostics(loaded, points(loaded))
    assert room is not None and told is not None
    assert f"n {units}" in room.tables[0].caption and f"n {units};" in told.caption
    shown = {row[3]: row[4] for row in told.rows}
    assert shown["reward confidence"] == f"0.730 [no bounds], n={64 if more else 256}"
    assert shown["reward heldout pairs"] == "256"


def test_a_model_that_was_not_probed_is_said_to_be_unknown(tmp_path: Path) -> None:
    synthetic.study(tmp_path, ("ppo",), settings=1, failed=False)
    loaded = load(tmp_path)
    room = section(loaded, points(loaded), {})
    assert room is not None
    assert room.paragraphs == [NO_PROBES]


def test_no_reward_model_no_room(tmp_path: Path) -> None:
    synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    loaded = load(tmp_path)
    assert section(loaded, points(loaded), {}) is None


def test_the_page_shows_the_room_once(tmp_path: Path) -> None:
    diagnosed(tmp_path, score=(0.8, 0.1), judge=(-0.3, 0.05))
    text = synthetic.text(tmp_path)
    assert text.count('id="reward-model"') == 1
    assert "paid for, the judge takes it off" in text
    assert "reward probes" not in text  # the bare list of diagnostics leaves it to the room
