"""What an algorithm asks of data that they do not have: it is left out, or the comparison is refused, before anything runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.commands import asked
from harness.errors import HarnessError

WEIGHED = """
from harness import preference_loss


@preference_loss
def algorithm(chosen, rejected, agreement):
    return agreement * (rejected - chosen)
"""


def data(folder: Path, margins: int) -> str:
    """192 pairs, the first of which have a margin and an agreement."""
    rows: list[dict[str, Any]] = [
        {"prompt": f"Post {i} on a cat.\n\nTL;DR:", "chosen": f"A cat sleeps {i}.", "rejected": f"No dog {i}."} for i in range(192)
    ]
    for row in rows[:margins]:
        row |= {"margin": 1.0, "agreement": 0.8}
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(folder / "pairs.jsonl")


def planned(*algorithms: str, task: str = "tldr", **flags: Any) -> tuple[list[str], dict[str, str]]:
    """The algorithms that are compared and what is said of the others."""
    ((found, _),), left = asked.variations({"task": task, "quick": True, "algorithms": list(algorithms), **flags}, (), None)
    return [plan.name for plan in found.algorithms], left


def test_a_loss_that_names_margins_is_left_out_where_pairs_are_sampled_and_labelled() -> None:
    kept, left = planned("dpo", "odpo")
    assert kept == ["dpo"]
    assert left["odpo"].startswith("odpo needs margins (by how much each chosen response was rated higher), and pairs that are sampled")
    assert "(labels 'bt' of task tldr) have none; data with a margin, or with a score of both responses, do: --data" in left["odpo"]


def test_sampled_pairs_have_agreements(tmp_path: Path) -> None:
    (tmp_path / "weighed.py").write_text(WEIGHED)
    assert planned("dpo", str(tmp_path / "weighed.py")) == (["dpo", "weighed"], {})


@pytest.mark.parametrize(("margins", "said"), [(192, None), (0, "of pairs.jsonl have none"), (191, "1 of ")])
def test_every_pair_of_data_must_have_what_is_named(tmp_path: Path, margins: int, said: str | None) -> None:
    kept, left = planned("dpo", "odpo", data=data(tmp_path, margins), model="tiny-64", pairs=192)
    assert (kept == ["dpo", "odpo"]) is (said is None)
    assert said is None or said in left["odpo"]


def test_what_a_rule_of_enumeration_cannot_measure_is_left_out() -> None:
    pytest.importorskip("trl")
    kept, left = planned("dpo", "odpo", "trl_dpo", "best_of_n", task="bandit")
    assert kept == ["dpo", "odpo"]
    assert left["trl_dpo"] == "trl_dpo trains by trl, which takes language models, and model 'table' is none."
    assert left["best_of_n"].startswith("best_of_n answers in another way than its weights do, and policies of this task are measured by")
    assert planned("trl_dpo", task="bandit", model="tiny-64")[0] == ["trl_dpo"]


def test_who_trains_on_a_reward_that_nobody_knows_is_left_out(tmp_path: Path) -> None:
    found = {"data": data(tmp_path, 0), "model": "tiny-64"}
    kept, left = planned("dpo", "ppo_gold", "rloo", **found)
    assert kept == ["dpo", "rloo"]
    assert left["ppo_gold"].startswith("ppo_gold trains on the reward that judges, and pairs.jsonl brings none")
    assert list(planned("dpo", "rloo", **found, set=["rloo.reward=gold"])[1]) == ["rloo"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"algorithms": ["odpo"]}, "^odpo needs margins"),
        ({"algorithms": ["dpo", "odpo"], "baseline": "odpo"}, "^baseline 'odpo': odpo needs margins"),
    ],
)
def test_where_nothing_is_left_it_is_refused(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        asked.variations({"task": "tldr", "quick": True, **flags}, (), None)


def test_check_on_a_task_says_so_before_it_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["harness", "check", "odpo", "--on", "tldr", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out) == (2, "")
    assert printed.err.startswith("error: odpo needs margins") and printed.err.count("\n") == 1


def test_a_plug_in_of_a_wheel_that_cannot_be_used_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    information = tmp_path / "other-0.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 0.1\n")
    (information / "entry_points.txt").write_text("[harness.algorithms]\nlost = nowhere_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    flags, left = asked.left_out({"algorithms": ["dpo", "lost"]}, None)
    assert flags["algorithms"] == ["dpo"]
    assert "the module 'nowhere_at_all' does not exist" in left["lost"]
