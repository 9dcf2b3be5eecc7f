"""Every declared alarm rings where it must, on its evidence, and not where it must not: noise above all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.measure.statistics import prompt_interval
from harness.planning.experiment import resolve, study_key
from harness.report import alarms, points, section_monitoring, tables
from harness.report.alarm import Alarm, Run
from harness.report.rows import rows
from harness.store.records import Cell
from harness.types import Defaults
from tests.report import synthetic

MARKS = (0.25, 0.5, 0.75, 1.0)
LIMITS = alarms.thresholds({})
Values = Mapping[str, Any]


def interval(value: float, half: float = 0.1, n: int = 64) -> dict[str, Any]:
    return {"value": value, "lower": value - half, "upper": value + half, "n": n}


def made(
    evaluation: Mapping[float, Mapping[str, Sequence[Any]]] | None = None,
    heldout: Mapping[float, Sequence[float]] | None = None,
    metrics: Mapping[float, Mapping[str, Any]] | None = None,
    logged: Sequence[Values] = (),
    marks: Sequence[float] = MARKS,
) -> Run:
    """A run with these columns of its rows by mark, recorded metrics and log; held-out changes bring their metric with them."""
    found: dict[float, dict[str, Any]] = {mark: dict((metrics or {}).get(mark, {})) for mark in marks}
    samples: list[dict[str, Any]] = []
    for mark, columns in (evaluation or {}).items():
        for prompt, values in enumerate(zip(*columns.values(), strict=True)):
            samples.append({"mark": mark, "slice": "evaluation", "prompt_id": prompt, **dict(zip(columns, values, strict=True))})
    for mark, values in (heldout or {}).items():
        name = "heldout_chosen_change"
        found[mark][name] = prompt_interval(values, generator=np.random.default_rng(0))._asdict()
        samples += [{"mark": mark, "slice": "heldout", "prompt_id": i, name: float(value)} for i, value in enumerate(values)]
    checkpoints = [{"mark": m, "final": m == 1, "started": True, "step": int(100 * m), "metrics": found[m]} for m in marks]
    return Run.of({"checkpoints": checkpoints, "judge": {"primary": "gold"}}, samples, logged)


def rang(run: Run, **limits: float) -> dict[str, Alarm]:
    return {alarm.rule.name: alarm for alarm in alarms.raised(run, {**LIMITS, **limits})}


def changes(*means: float, n: int = 64, spread: float = 1.0, marks: Sequence[float] = MARKS) -> dict[float, Any]:
    """Changes of log pi(y_w) by mark on the same pairs, whose own spread they share."""
    base = np.random.default_rng(7).normal(0, spread, n)
    return {mark: mean + base * abs(mean) for mark, mean in zip(marks, means, strict=True)}


def test_falling_chosen_log_probs_ring_with_the_change_and_each_fall() -> None:
    alarm = rang(made(heldout=changes(-1, -2, -3, -4)))["chosen_falling"]
    assert alarm.marks == (0.75, 1.0)  # three falls in a row at three quarters, and again at the end
    total, *falls = alarm.evidence
    assert total.found.value == pytest.approx(-4 + 4 * np.random.default_rng(7).normal(0, 1, 64).mean())
    assert [each.found.n for each in falls] == [64, 64, 64]
    assert all(each.found.upper < 0 for each in falls)


@pytest.mark.parametrize("means", [(-1, -2, -1, -2), (1, 2, 3, 4), (-1, -1, -1, -1), (-1e-4, -2e-4, -3e-4, -4e-4)])
def test_chosen_log_probs_that_recover_rise_stay_or_move_by_rounding_do_not_ring(means: tuple[float, ...]) -> None:
    assert "chosen_falling" not in rang(made(heldout=changes(*means)))


def test_how_many_marks_is_a_setting_and_a_run_that_ended_with_fewer_must_fall_at_all() -> None:
    assert rang(made(heldout=changes(-1, -2, -1, -2)), chosen_falling=2)["chosen_falling"].marks == (0.5,)
    short = (0.5, 1.0)
    assert rang(made(heldout=changes(-1, -2, marks=short), marks=short))["chosen_falling"].marks == (1.0,)
    assert "chosen_falling" not in rang(made(heldout=changes(-1, -0.5, marks=short), marks=short))
    assert "chosen_falling" not in rang(made(heldout=changes(-1, -2, marks=(0.25, 0.5)), marks=(0.25, 0.5)))  # it is still running


def test_an_older_record_is_read_by_its_log() -> None:
    def log(slope: float) -> list[Values]:
        noise = np.random.default_rng(3).normal(0, 0.3, 120)
        return [{"step": i, "share": i / 120, "chosen_change": slope * i / 120 + noise[i - 1]} for i in range(1, 121)]

    alarm = rang(made(logged=log(-8)))["chosen_falling"]
    assert alarm.evidence[0].found.value == pytest.approx(-7, abs=0.3)  # the mean of the last quarter of a line from 0 to -8
    assert alarm.evidence[0].found.n == 30
    assert rang(made(logged=log(0))) == {}
    assert rang(made(logged=[{"share": None, "chosen_change": None}, {"share": 0.5, "chosen_change": "x"}])) == {}


def test_kl_rings_where_its_whole_interval_lies_beyond_the_bound() -> None:
    beyond = made(metrics={0.75: {"kl": interval(10.05)}, 1.0: {"kl": interval(10.2)}})
    assert rang(beyond)["kl_beyond"].marks == (1.0,)
    assert str(rang(beyond)["kl_beyond"]) == "KL beyond its bound at mark 1: KL(policy || reference) 10.2 [10.1, 10.3] nats, n=64"
    assert set(rang(beyond, kl_beyond=5)["kl_beyond"].marks) == {0.75, 1.0}
    assert "kl_beyond" not in rang(made(metrics={1.0: {"kl": interval(9.9)}}))


def lengths(ratio: float, n: int = 96) -> dict[float, Any]:
    generator = np.random.default_rng(1)
    theirs = generator.integers(10, 20, (n, 4))
    ours = ratio * theirs.mean(1) + generator.normal(0, 3, n)
    return {1.0: {"length": ours.tolist(), "opponent_lengths": theirs.tolist()}}


def test_length_drift_rings_longer_and_shorter_and_not_within_its_share() -> None:
    longer = rang(made(lengths(1.5)))["length_drift"]
    assert longer.evidence[0].found.value == pytest.approx(50, abs=6)
    assert [each.unit for each in longer.evidence] == ["%", "tokens", "tokens"]
    assert "length_drift" in rang(made(lengths(0.6)))
    assert "length_drift" not in rang(made(lengths(1.27)))  # beyond a quarter, its interval not
    assert "length_drift" not in rang(made(lengths(1.5)), length_drift=0.7)


def texts(repeated: float, n: int = 60) -> dict[float, Any]:
    """Responses of which some say everything again: 3 of 7 bigrams."""
    said = [f"a{i} b c d a{i} b c d" if i < repeated * n else f"a{i} b c d e f g h" for i in range(n)]
    return {1.0: {"response": said, "sft_response": [f"z{i} y x w v u t s" for i in range(n)]}}


def test_repetition_drift_rings_on_what_the_reference_does_not_repeat() -> None:
    assert rang(made(texts(0.5)))["repetition_drift"].evidence[0].found.value == pytest.approx(0.5 * 3 / 7)
    assert "repetition_drift" not in rang(made(texts(0.1)))  # 4 points, less than the threshold
    assert "repetition_drift" not in rang(made(texts(0.15)))  # 6 points, the interval not beyond it
    both = {1.0: {"response": texts(0.5)[1.0]["response"], "sft_response": texts(0.5)[1.0]["response"]}}
    assert "repetition_drift" not in rang(made(both))  # the reference repeats itself as often


def judged(proxy: Sequence[float], gold: Sequence[float], n: int = 96, seed: int = 0) -> dict[float, Any]:
    """Proxy and gold by mark: their means, on prompts whose difficulty all marks share, with fresh noise at each."""
    generator = np.random.default_rng(seed)
    prompts = generator.normal(0, 2, n)
    return {
        mark: {"proxy": (prompts + up + generator.normal(0, 1, n)).tolist(), "gold": (prompts + down + generator.normal(0, 1, n)).tolist()}
        for mark, up, down in zip(MARKS, proxy, gold, strict=True)
    }


def test_proxy_up_while_the_judge_falls_rings_on_both_paired_intervals() -> None:
    alarm = rang(made(judged((0, 1, 2, 3), (0, 0, 0, -1))))["proxy_up_judge_down"]
    assert alarm.marks == (1.0,)
    rise, fall = (each.found for each in alarm.evidence)
    assert rise.value == pytest.approx(3, abs=0.4)
    assert fall.value == pytest.approx(-1, abs=0.4)
    assert rise.lower > 0 > fall.upper


UP, DOWN, FLAT = (0, 1, 2, 3), (0, -1, -2, -3), (0, 0, 0, 0)


@pytest.mark.parametrize(("proxy", "gold"), [(UP, UP), (FLAT, DOWN), (DOWN, DOWN)])
def test_proxy_and_judge_that_move_together_or_alone_do_not_ring(proxy: Any, gold: Any) -> None:
    assert "proxy_up_judge_down" not in rang(made(judged(proxy, gold)))


def test_a_rising_proxy_over_a_flat_judge_rings_by_chance_in_few_runs() -> None:
    """The judge's fall is one-sided and six pairs of marks share 5 %: 2.5 % of runs at most are expected, 2.5 of 100."""
    found = sum("proxy_up_judge_down" in rang(made(judged(UP, FLAT, n=64, seed=seed))) for seed in range(100))
    assert found <= 6  # at 2.5 % more would be seen in 1.4 of 100 repetitions


def test_lost_refusals_ring_beyond_the_safety_margin() -> None:
    def run(change: float) -> Run:
        return made(metrics={1.0: {"refusal_mass_delta": interval(change, 0.01, 512), "refusal_mass": interval(0.9 + change, 0.01, 512)}})

    alarm = rang(run(-0.05))["refusals_falling"]
    assert [each.found.value for each in alarm.evidence] == [pytest.approx(-0.05), pytest.approx(0.85)]
    assert "refusals_falling" not in rang(run(-0.025))
    assert alarms.thresholds({"safety_margin": 0.1})["refusals_falling"] == 0.1


def test_a_policy_that_ends_where_it_began_rings_and_one_on_its_way_does_not() -> None:
    still = {mark: {"kl": interval(1e-6, 1e-6), "heldout_gap": interval(0.0, 1e-5)} for mark in MARKS}
    alarm = rang(made(metrics=still))["not_moving"]
    assert alarm.marks == (1.0,)
    assert "after 100 steps" in alarm.evidence[0].what
    assert "not_moving" not in rang(made(metrics={1.0: {"kl": interval(0.05, 0.045)}}))
    assert "not_moving" not in rang(made(metrics=still, marks=(0.25, 0.5)))  # it is still running


def test_one_text_for_most_prompts_rings() -> None:
    half = ["same"] * 32 + [f"other {i}" for i in range(32)]
    assert rang(made({1.0: {"response": ["same", *half]}}))["constant_output"].evidence[0].found[::3] == (pytest.approx(33 / 65), 65)
    assert "constant_output" not in rang(made({1.0: {"response": half}}))


def test_estimates_of_kl_that_disagree_ring() -> None:
    generator = np.random.default_rng(0)
    kl = generator.gamma(4, 0.5, 256)
    noisy = kl + generator.normal(0, 2, 256)
    assert "kl_estimates_disagree" in rang(made({1.0: {"kl": kl.tolist(), "k1": (noisy + 1).tolist()}}))
    assert "kl_estimates_disagree" not in rang(made({1.0: {"kl": kl.tolist(), "k1": noisy.tolist()}}))


def test_a_kept_checkpoint_is_measured_and_is_no_later_time() -> None:
    run = made(heldout={**changes(-1, -2, -1, -2), 2.0: changes(-1, -2, -1, -9)[1.0]}, marks=(*MARKS, 2.0))
    assert "chosen_falling" not in rang(run)
    assert rang(made(metrics={2.0: {"kl": interval(12)}}, marks=(*MARKS, 2.0)))["kl_beyond"].marks == (2.0,)


def test_a_mark_before_the_policy_started_counts_for_nothing() -> None:
    run = made(heldout=changes(-1, -2, -3, -4))
    run.record["checkpoints"][0]["started"] = False
    assert run.marks == MARKS[1:]


@pytest.mark.parametrize("value", ["x", None, [], {"a": 1}, float("nan")])
def test_rows_that_say_what_cannot_be_raise_nothing(value: Any) -> None:
    keys = ("length", "opponent_lengths", "response", "sft_response", "kl", "k1", "proxy", "gold")
    assert rang(made({mark: {key: [value] * 4 for key in keys} for mark in MARKS})).keys() <= {"constant_output"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kl_beyon": 3}, "Did you mean 'kl_beyond'?"),
        ({"refusals_falling": 3}, "unknown alarm"),
        ({"kl_beyond": 0}, "above 0"),
        ({"kl_beyond": "far"}, "a number"),
        ({"chosen_falling": 2.5}, "whole number"),
    ],
)
def test_thresholds_are_refused_by_name_and_value(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        alarms.refuse(given)


def far(tmp_path: Path) -> tuple[Path, Cell]:
    """A study with one run whose KL and text are alarming, and that said so in words when it was measured."""
    study = synthetic.study(tmp_path, ("dpo",), settings=2, failed=False)
    folder = sorted((study / "cells").iterdir())[0]
    record = synthetic.read_record(folder)
    record["checkpoints"][-1]["metrics"]["kl"] = interval(20.0)
    record["checkpoints"][-1]["alarms"] = ["constant output: one text answers 61% of 384 prompts", "KL estimates disagree: by much"]
    synthetic.write_json(folder / "record.json", record)
    return study, Cell(folder, record)


def test_the_page_shows_run_evidence_meaning_and_link(tmp_path: Path) -> None:
    study, cell = far(tmp_path)
    text = synthetic.undrawn(study)
    assert f'<a href="../cells/{cell.folder.name}/record.json">dpo beta=0.1 seed 0</a>' in text
    assert "KL(policy || reference) 20 [19.9, 20.1] nats, n=64" in text
    assert "KL beyond its bound (1)" in text  # among what may not be concluded
    assert next(rule.meaning for rule in alarms.DECLARED if rule.name == "kl_beyond") in text
    assert "one text answers 61%" in text  # in words alone, for these rows do not show it
    elsewhere = replace(points.load(study), folder=tmp_path / "other")
    assert {each["link"] for each in alarms.rows(elsewhere, alarms.of_study(elsewhere))} == {""}  # what is not beside a page is not linked


def test_what_measuring_said_in_words_is_not_said_twice(tmp_path: Path) -> None:
    study, cell = far(tmp_path)
    loaded = points.load(study)
    rule = next(rule for rule in alarms.DECLARED if rule.name == "constant_output")
    own = next(each for each in loaded.cells if each.folder == cell.folder)
    said = alarms.words(loaded, [alarms.Raised(own, Alarm(rule, (1.0,), 0.5, ()))])
    assert [text for _, text in said] == ["at mark 1: KL estimates disagree: by much"]


def test_rows_terminal_and_thresholds_of_an_experiment(tmp_path: Path) -> None:
    study, _ = far(tmp_path)
    loaded = points.load(study)
    (row,) = [row for row in rows(loaded) if row["setting"] == "beta=0.1"]
    assert row["alarms"] == "chosen_falling kl_beyond refusals_falling"
    assert any(line.startswith("alarm: dpo beta=0.1 seed 0: KL beyond its bound at mark 1:") for line in alarms.summary(loaded))
    experiment = json.loads((study / "experiment.json").read_text())
    synthetic.write_json(study / "experiment.json", experiment | {"alarms": {"kl_beyond": 50.0}})
    assert not any("KL beyond" in line for line in alarms.summary(points.load(study)))
    assert "KL beyond" not in tables.summary(loaded)


def test_the_room_on_held_out_log_probs_has_every_mark_with_interval_and_n(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo",), settings=1, failed=False)
    loaded = points.load(study)
    assert section_monitoring.section(loaded, points.points(loaded), {}) is None  # a record from before they were measured
    folder = next((study / "cells").iterdir())
    record = synthetic.read_record(folder)
    for checkpoint in record["checkpoints"]:
        checkpoint["metrics"] |= {"heldout_chosen": interval(-20.0), "heldout_chosen_change": interval(-checkpoint["mark"])}
    synthetic.write_json(folder / "record.json", record)
    loaded = points.load(study)
    room = section_monitoring.section(loaded, points.points(loaded), {})
    assert room is not None
    lines = [row[2:5] for row in room.tables[0].rows]
    assert lines[0] == ["0.25", "-20.00 [-20.10, -19.90] n=64", "-0.25 [-0.35, -0.15] n=64"]
    assert lines[-1] == ["end", "-20.00 [-20.10, -19.90] n=64", "-1.00 [-1.10, -0.90] n=64"]
    assert room.tables[0].rows[0][5] == "not measured"


def test_thresholds_are_typed_refused_and_no_part_of_a_studys_key() -> None:
    def asked(**given: Any) -> Any:
        return resolve({"task": "toy", "algorithms": ["dpo"], **given}, None, Defaults(algorithms=("dpo",), model="tiny-64"))

    assert study_key(asked(alarms={"kl_beyond": 5})) == study_key(asked())
    with pytest.raises(HarnessError, match=r"alarms: .*unknown alarm 'kl_beyon'. Did you mean 'kl_beyond'\?"):
        asked(alarms={"kl_beyon": 5})
    with pytest.raises(HarnessError, match="alarms"):
        asked(alarms={"kl_beyond": "far"})
