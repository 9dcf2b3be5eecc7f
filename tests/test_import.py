"""Outcomes of other systems: what a file may say, what is refused with its lines, and the study that comes of it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import harness
from harness import cli
from harness.errors import HarnessError
from harness.measure.statistics import paired_two_way, two_way_interval
from harness.outside import imported, outcomes
from harness.report import comparing, matching, safety
from harness.report.numbers import resampler
from harness.report.points import load
from harness.report.winrate import length_controlled
from tests.report import synthetic

SHARES = {"base": 0.5, "alpha": 0.8, "beta": 0.6}


def rows(seeds: int = 3, prompts: int = 40) -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    return [
        {
            "algorithm": name,
            "setting": "" if name == "base" else "b=0.1",
            "seed": seed,
            "prompt": f"p{prompt}",
            "outcome": float(generator.random() < share),
            "kl": 0.0 if name == "base" else round(float(generator.random()) * 2, 3),
            "length": int(generator.integers(5, 25)),
            "flops": "" if name == "beta" else 1e12,
            "category": ("rob", "hack")[prompt % 2],
        }
        for name, share in SHARES.items()
        for seed in range(seeds)
        for prompt in range(prompts)
    ]


def written(folder: Path, found: Sequence[dict[str, Any]], columns: Sequence[str] = ()) -> Path:
    path = folder / "outcomes.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns or list(found[0]), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(found)
    return path


def values(found: Sequence[dict[str, Any]], name: str) -> Any:
    return np.array([row["outcome"] for row in found if row["algorithm"] == name]).reshape(3, -1)


def test_win_rates_and_differences_are_those_of_the_outcomes(tmp_path: Path) -> None:
    found = rows()
    study = load(imported.study(written(tmp_path, found), tmp_path / "runs", baseline="base"))
    points = {point.algorithm: point for point in study.points}
    assert points["alpha"].get("win_sft") == two_way_interval(values(found, "alpha"), generator=resampler())
    compared = {each.name: each for each in comparing.comparisons(study, study.points)}
    assert set(compared) == {"alpha", "beta"}
    expected = paired_two_way(values(found, "alpha"), values(found, "base"), generator=resampler())
    assert compared["alpha"].difference == expected
    assert compared["alpha"].verdict is not None
    assert not compared["alpha"].exploratory
    assert points["beta"].get("kl").value == pytest.approx(np.mean([row["kl"] for row in found if row["algorithm"] == "beta"]))


def test_a_reference_gives_safety_by_category_and_lengths_to_control(tmp_path: Path) -> None:
    found = rows()
    study = load(imported.study(written(tmp_path, found), tmp_path / "runs", reference="base"))
    assert [point.algorithm for point in study.points] == ["alpha", "beta"]
    assert len(study.references) == 3
    verdicts = {each.point.algorithm: each for each in safety.judged(study, study.points) if each.metric.key == "outcome"}
    hack = np.array([int(row["prompt"][1:]) % 2 == 1 for row in found if row["algorithm"] == "base"]).reshape(3, -1)[0]
    after, before = (values(found, name)[:, hack] for name in ("alpha", "base"))
    assert verdicts["alpha"].categories["hack"].change.value == pytest.approx((after - before).mean())
    assert set(verdicts["beta"].categories) == {"hack", "rob"}
    assert all(each.rate is not None for each in length_controlled(study.points).values())
    without = load(imported.study(written(tmp_path, found), tmp_path / "runs", baseline="alpha"))
    assert {each.reason for each in length_controlled(without.points).values()} == {"no length of the opponents was imported"}
    assert safety.judged(without, without.points) == []


def test_unknown_compute_is_never_zero_and_never_matched(tmp_path: Path) -> None:
    study = load(imported.study(written(tmp_path, rows()), tmp_path / "runs"))
    assert matching.matching(study.points) == "Compute is not compared: what beta spent is unknown."
    text = synthetic.text(study)
    assert "what beta spent is unknown" in text
    assert "ompute is matched" not in text
    assert ">nan<" not in text
    assert {row["algorithm"]: row["flops"] for row in harness.load(study.folder).rows} == {"base": 1e12, "alpha": 1e12, "beta": None}
    known = load(imported.study(written(tmp_path, [{**row, "flops": 1e12} for row in rows()]), tmp_path / "runs"))
    assert "differ by at most 0.0 %" in matching.matching(known.points)


def test_four_columns_are_enough_and_nothing_else_is_invented(tmp_path: Path) -> None:
    path = written(tmp_path, rows(), outcomes.REQUIRED)
    study = load(imported.study(path, tmp_path / "runs"))
    text = synthetic.text(study)
    assert "Imported from outcomes.csv" in text
    assert "Figure 1 is left out" in text
    assert {row["kl"] for row in harness.load(study.folder).rows} == {None}
    assert "sample of prompt" not in text


def test_prompts_that_not_everybody_answered_are_compared_where_both_did(tmp_path: Path) -> None:
    found = [row for row in rows() if not (row["algorithm"] == "beta" and row["prompt"] in ("p3", "p4") and row["seed"] == 1)]
    result = CliRunner().invoke(cli.app, ["import", str(written(tmp_path, found)), "--results", str(tmp_path / "runs")])
    assert result.exit_code == 0
    assert "Only 38 prompts were answered in every run" in result.stdout
    study = load(next((tmp_path / "runs").iterdir()))
    compared = {each.name: each for each in comparing.comparisons(study, study.points)}
    assert compared["beta"].difference.n == 38
    assert compared["alpha"].difference.n == 40


def test_the_same_file_is_the_same_study_to_the_byte(tmp_path: Path) -> None:
    path = written(tmp_path, rows())
    first = imported.study(path, tmp_path / "runs", task="mine")
    before = {file: file.read_bytes() for file in sorted(first.rglob("*")) if file.is_file()}
    assert imported.study(path, tmp_path / "runs", task="mine") == first
    assert {file: file.read_bytes() for file in sorted(first.rglob("*")) if file.is_file()} == before
    assert first.name.startswith("mine-")
    assert imported.study(path, tmp_path / "runs", task="mine", baseline="beta") != first


Edit = Callable[[list[dict[str, Any]]], Any]


def outcome(row: int, value: str) -> Edit:
    return lambda found: found[row].update(outcome=value)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (outcome(11, "1.2"), "line 13: outcome '1.2' is not a number from 0 to 1. Nothing was imported."),
        (outcome(0, "nan"), "line 2: outcome 'nan' is not a number"),
        (outcome(0, ""), "line 2: outcome '' is not"),
        (lambda found: [row.update(outcome=-1) for row in found[3:6]], "'-1' is not a number from 0 to 1. 2 more lines are wrong: 6, 7."),
        (lambda found: found[4].update(seed="first"), "line 6: seed 'first' is not a whole number"),
        (lambda found: found[4].update(algorithm=" "), "line 6: no algorithm"),
        (lambda found: found[4].update(kl="inf"), "line 6: kl 'inf' is not a finite number"),
        (lambda found: found[4].update(length="-3"), "line 6: length '-3' is not a finite number from 0"),
        (lambda found: found[4].update(flops=3), "line 6: flops 3, and 1e+12 on line 2 of the same run"),
        (lambda found: found[9].update(prompt="p2"), "line 11: the same outcome as line 4 (base, seed 0, prompt 'p2')"),
        (lambda found: found.clear(), "no outcomes below its header"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_with_its_lines_and_nothing_is_written(edit: Edit, said: str, tmp_path: Path) -> None:
    found = rows(seeds=1)
    columns = list(found[0])
    edit(found)
    with pytest.raises(HarnessError) as caught:
        imported.study(written(tmp_path, found, columns), tmp_path / "runs")
    assert said in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_missing_column_is_named_with_its_nearest(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    path.write_text("algoritm,seed,prompt,outcome\na,0,p,1\n")
    with pytest.raises(HarnessError, match=r"no column algorithm\. Did you mean 'algoritm'\? Found: algoritm, .*Wanted: algorithm, "):
        outcomes.read(path)
    path.write_text("algorithm,seed,prompt,outcome,seed\n")
    with pytest.raises(HarnessError, match="column seed is there twice"):
        outcomes.read(path)
    path.write_text("algorithm,seed,prompt,outcome\na,0,p\n")
    with pytest.raises(HarnessError, match="line 2: another number of fields"):
        outcomes.read(path)
    path.write_bytes(b"algorithm,seed,prompt,outcome\na,0,\xff,1\n")
    with pytest.raises(HarnessError, match="cannot be read as CSV"):
        outcomes.read(path)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"baseline": "alhpa"}, "'alhpa' is not among the algorithms .* Did you mean 'alpha'"),
        ({"baseline": "base", "reference": "base"}, "cannot be both"),
    ],
)
def test_names_must_be_those_of_the_file(names: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=said):
        imported.study(written(tmp_path, rows(seeds=1)), tmp_path / "runs", **names)


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\x1b[31m../../x"
    found = [{**row, "algorithm": evil if row["algorithm"] == "beta" else row["algorithm"], evil: 1} for row in rows(seeds=1)]
    result = CliRunner().invoke(cli.app, ["import", str(written(tmp_path, found)), "--results", str(tmp_path / "runs"), "--task", "../up"])
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "<script>alert" not in next((tmp_path / "runs").glob("*/report/index.html")).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outcomes.csv", "runs"]
    assert all("/" not in folder.name and len(list(folder.iterdir())) >= 3 for folder in (tmp_path / "runs").glob("*/cells/*"))


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("", {}),
        ("beta=0.1", {"beta": 0.1}),
        ("beta=0.1, steps=3", {"beta": 0.1, "steps": 3}),
        ("large", {"setting": "large"}),
        ("a=", {"a": ""}),
    ],
)
def test_a_setting_is_read_as_it_is_written(text: str, table: dict[str, Any]) -> None:
    assert imported.setting_of(text) == table
