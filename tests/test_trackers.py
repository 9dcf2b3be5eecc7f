"""Trackers: refused in one line where unknown or not installed, and holding what the rows and the record of a run hold."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.watching import trackers

ROW = {"step": 3, "phase": "update", "share": 0.1, "loss": 0.5, "chosen": -12.25, "gap": None}
MARK = {
    "mark": 0.5,
    "step": 4,
    "metrics": {
        "kl": {"value": 1.5, "lower": 1.25, "upper": 1.75, "n": 64},
        "win_sft": {"value": 0.5, "lower": None, "upper": None, "n": 1},
    },
    "alarms": [{"name": "kl_beyond", "said": "KL beyond its bound"}],
    "samples": [{"prompt": "who?", "response": "me\x1b[31m", "sft_response": "you"}],
}
RECORD = {"status": "finished", "seed": 0, "settings": {"beta": 0.1}, "alarms": MARK["alarms"]}


def told(tracker: Any) -> None:
    tracker.row("dpo-seed0", ROW)
    tracker.mark("dpo-seed0", MARK)
    tracker.row("kto-seed0", ROW)
    tracker.end("dpo-seed0", RECORD)
    tracker.close()


def test_an_unknown_tracker_and_a_missing_package_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnessError, match=r"unknown tracker. Did you mean 'wandb'\? Legal: tensorboard, wandb"):
        trackers.check(["wandbb"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in trackers.KINDS:
        with pytest.raises(HarnessError, match=rf"the package {name} is not installed.*pip install 'preference-harness\[{name}\]'"):
            trackers.check([name])


def test_numbers_of_rows_and_marks_are_those_that_were_measured() -> None:
    assert trackers.numbers(ROW) == {"loss": 0.5, "chosen": -12.25}
    assert trackers.measured(MARK) == {"kl": 1.5, "kl_lower": 1.25, "kl_upper": 1.75, "win_sft": 0.5}
    assert list(trackers.spoken(MARK)) == [("who?", r"me\x1b[31m", "you")]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_holds_rows_marks_samples_and_the_end(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told(*trackers.opened(["tensorboard"], tmp_path, "tldr-0a1b"))
    run = EventAccumulator(str(tmp_path / "tensorboard" / "tldr-0a1b" / "dpo-seed0"))
    run.Reload()
    scalars = {tag: [(each.step, each.value) for each in run.Scalars(tag)] for tag in run.Tags()["scalars"]}
    assert scalars["train/chosen"] == [(3, -12.25)]
    assert (scalars["marks/kl"], scalars["marks/kl_lower"]) == ([(4, 1.5)], [(4, 1.25)])
    said = {tag.removesuffix("/text_summary"): run.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in run.Tags()["tensors"]}
    assert r"me\x1b[31m" in said["samples/0"]
    assert said["ended"] == "finished; alarms: kl_beyond"
    assert len(list((tmp_path / "tensorboard" / "tldr-0a1b" / "kto-seed0").iterdir())) == 1  # it never ended, and is closed all the same


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_offline_without_being_asked_a_run_for_each_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra 'wandb' is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    told(*trackers.opened(["wandb"], tmp_path, "tldr-0a1b"))
    runs = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert len(runs) == 2
    logged = b"".join(file.read_bytes() for run in runs for file in run.glob("*.wandb"))
    for name in (b"train/chosen", b"marks/kl_lower", b"dpo-seed0", b"tldr-0a1b", b"kl_beyond"):
        assert name in logged
    (table,) = [json.loads(file.read_text()) for run in runs for file in run.glob("files/media/table/**/*.json")]
    assert table["data"] == [["who?", r"me\x1b[31m", "you"]]
