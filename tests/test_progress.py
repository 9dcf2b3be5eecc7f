"""The live view: plain lines on a stream, a table on a terminal."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.commands.progress import GridView


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_plain_lines_say_each_start_each_tenth_and_each_end() -> None:
    stream = io.StringIO()
    with GridView(2, stream=stream) as view:
        for step in range(1001):
            view.update("dpo-seed0", "update", step / 1000, 0.5)
        view.finish("dpo-seed0", "finished")
        view.update("kto-seed0", "reference", 0.0)
        view.finish("kto-seed0", "diverged")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 10 + 1 + 2
    assert all(re.match(r"\[\d+:\d\d\] (dpo|kto)-seed0: ", line) for line in lines)
    assert re.search(r"update 10%, loss 0\.500, \d+:\d\d left$", lines[1])
    assert lines[11].endswith("dpo-seed0: finished (1 of 2)")
    assert lines[-1].endswith("kto-seed0: diverged (2 of 2)")


def test_a_new_stage_starts_anew() -> None:
    stream = io.StringIO()
    with GridView(1, stream=stream) as view:
        for stage in ("reward", "update"):
            view.update("ppo", stage, 0.5)
            view.update("ppo", stage, 0.55)
    assert [line.partition("] ")[2] for line in stream.getvalue().splitlines()] == ["ppo: reward", "ppo: update"]


def test_a_terminal_gets_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with GridView(3, stream=stream) as view:
        view.update("dpo[bold]", "update", 0.5, 0.25)
        view.finish("ipo", "finished")
    shown = stream.getvalue()
    assert "1 of 3 done" in shown
    assert "dpo[bold]" in shown  # markup in a name is text
    assert "██████████░░░░░░░░░░  50%" in shown
    assert "0.250" in shown
    assert "ipo finished" in shown


def test_what_arrives_after_the_end_is_dropped() -> None:
    stream = io.StringIO()
    with GridView(1, stream=stream) as view:
        view.finish("dpo", "finished")
        view.update("dpo", "update", 1.0)
    assert stream.getvalue().count("\n") == 1


def test_two_threads_may_speak_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with GridView(400, stream=Terminal()) as view, ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(view.update, f"cell{index}", "update", 0.5) for index in range(200)]:
            future.result()


ROW = {"step": 9, "chosen": -12.3, "chosen_change": -1.5, "rejected": -15.0, "rejected_change": -3.25, "gap": 1.75}
MARK = {
    "mark": 0.5,
    "metrics": {
        "kl": {"value": 1.5, "lower": 1.25, "upper": 1.75, "n": 64},
        "heldout_chosen": {"value": -20.0, "lower": -21.0, "upper": -19.0, "n": 32},
        "heldout_chosen_change": {"value": -1.0, "lower": -1.5, "upper": -0.5, "n": 32},
    },
    "samples": [{"response": "a\x1b[31m b\nc", "sft_response": "x" * 200}],
    "alarms": [{"name": "kl_beyond", "said": "KL beyond its bound at mark 0.5"}],
}


def test_log_probs_marks_samples_and_alarms_are_told_in_plain_lines() -> None:
    stream = io.StringIO()
    with GridView(1, stream=stream) as view:
        view.update("dpo", "update", 0.0, 0.5)
        view.row("dpo", ROW)
        view.update("dpo", "update", 0.1, 0.5)
        view.mark("dpo", MARK)
        view.mark("dpo", {**MARK, "mark": 0.75})
        view.finish("dpo", "finished")
        view.end("dpo", {"alarms": [*MARK["alarms"], {"name": "length_drift", "said": "length drift at mark 1"}]})
    lines = [line.partition("] ")[2] for line in stream.getvalue().splitlines()]
    assert "chosen -12.30 (-1.50), rejected -15.00 (-3.25), gap +1.75" in lines[1]
    assert lines[2] == (
        "dpo: mark 0.5: KL 1.5 [1.25, 1.75] nats n=64; held-out log pi(y_w) -20 [-21, -19] n=32, since step 0 -1 [-1.5, -0.5] n=32"
    )
    assert lines[3] == r"dpo:   says 'a\x1b[31m b\nc'"  # control characters are shown, not obeyed
    assert lines[4] == f"dpo:   SFT  '{'x' * 100}…'"
    alarms = [line for line in lines if "alarm" in line]
    assert alarms == ["dpo: alarm: KL beyond its bound at mark 0.5", "dpo: alarm: length drift at mark 1"]  # each once


def test_a_terminal_shows_log_probs_beside_the_loss_and_the_latest_marks_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    stream = Terminal()
    with GridView(2, stream=stream) as view:
        view.update("ppo", "update", 0.5, 0.25)
        view.row("dpo", ROW)
        view.update("dpo", "update", 0.5, 0.25)
        view.mark("dpo", MARK)
    last = stream.getvalue().rpartition("0 of 2 done")[2]
    assert "-12.30 (-1.50)" in last
    assert "chosen (change)" in last
    assert "dpo: mark 0.5: KL 1.5 [1.25, 1.75] nats n=64" in last
    assert "\x1b[31m" not in last.replace(r"\x1b[31m", "")
