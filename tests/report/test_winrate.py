"""The page's room on win rates on invented records: who beats whom, lengths held equal, greedy decoding, and what is missing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from harness.measure.evaluate import constant_alarm
from harness.report import comparing, drawing, section_winrate
from harness.report.palette import looks
from harness.report.points import load, points
from harness.report.section import Grid, Section
from harness.report.winrate import at, chosen, greedy_change, length_controlled, tournament
from harness.store.records import SAMPLES, compressed, line, write_json
from harness.types import Response

Change = Callable[[dict[str, Any]], dict[str, Any]]


def made(root: Path, names: tuple[str, ...] = ("dpo", "ipo", "kto"), **flags: Any) -> Path:
    return synthetic.study(root, names, **{"settings": 1, "failed": False, **flags})


def edit(root: Path, pattern: str, change: Change) -> None:
    """Rewrite the sample rows of the cells that match."""
    for path in sorted(root.glob(f"cells/{pattern}/{SAMPLES}")):
        rows = [json.loads(text) for text in gzip.decompress(path.read_bytes()).decode().splitlines()]
        path.write_bytes(compressed("".join(line(change(row)) + "\n" for row in rows)))


def room(root: Path) -> Section:
    loaded = load(root)
    found = points(loaded)
    with drawing.style():
        section = section_winrate.section(loaded, found, looks([(point.algorithm, point.control) for point in found]))
    assert section is not None
    return section


def cell_of(grid: Grid, algorithm: str, heading: str) -> str:
    row = next(row for row in grid.rows if row[0] == algorithm)
    return row[list(grid.headings).index(heading)]


def scored(**by_prompt: Callable[[int], float]) -> Callable[[Path], None]:
    """Give each algorithm's responses these scores by prompt."""

    def apply(root: Path) -> None:
        for name, score in by_prompt.items():
            edit(root, f"{name}-*", lambda row, score=score: row | {"gold": score(row["prompt_id"])})  # type: ignore[misc]

    return apply


def test_wins_and_ties_between_algorithms_are_counted_prompt_by_prompt(tmp_path: Path) -> None:
    """dpo beats ipo on the even prompts and loses the odd ones by more than a tie; kto says what dpo says."""
    root = made(tmp_path)
    scored(dpo=lambda i: float(i % 2 == 0), ipo=lambda i: 0.5, kto=lambda i: float(i % 2 == 0) + 1e-9)(root)
    met = tournament(points(load(root)))
    assert met is not None
    shares = {(a, b): met.result.shares[i][j].value for i, a in enumerate(met.result.names) for j, b in enumerate(met.result.names)}
    ties = {(a, b): met.ties[i][j].value for i, a in enumerate(met.result.names) for j, b in enumerate(met.result.names)}
    assert shares["dpo", "ipo"] == 0.5
    assert ties["dpo", "ipo"] == 0.0
    assert shares["dpo", "kto"] == 0.5
    assert ties["dpo", "kto"] == ties["kto", "dpo"] == 1.0
    assert "ties 1.000 [1.000, 1.000]" in cell_of(room(root).tables[1], "dpo", "kto")


def test_only_common_seeds_and_prompts_meet(tmp_path: Path) -> None:
    root = made(tmp_path, seeds=2)
    for path in sorted(root.glob("cells/ipo-*-seed1-*")):
        (path / "record.json").unlink()
    met = tournament(points(load(root)))
    assert met is not None
    assert met.seeds == 1
    edit(root, "dpo-*", lambda row: row | ({"prompt_id": 1000} if row["prompt_id"] == 3 else {}))
    again = tournament(points(load(root)))
    assert again is not None
    assert again.result.shares[0][1].n == 383


def test_a_task_without_gold_is_judged_by_its_own_column(tmp_path: Path) -> None:
    root = made(tmp_path, gold=False)
    assert tournament(points(load(root))) is None
    assert section_winrate.ALONE in room(root).paragraphs
    edit(root, "dpo-*", lambda row: row | {"judge": 2.0})
    edit(root, "[ik]*", lambda row: row | {"judge": 1.0})
    met = tournament(points(load(root)))
    assert met is not None
    assert [each.value for each in met.result.shares[0]] == [0.5, 1.0, 1.0]


def test_a_second_judge_decides_where_the_record_says_so(tmp_path: Path) -> None:
    root = made(tmp_path)
    edit(root, "*", lambda row: row | {"gold": 0.0, "gold_b": float("dpo" in str(row.get("who")))})
    edit(root, "dpo-*", lambda row: row | {"gold_b": 1.0})
    for path in sorted(root.glob("cells/*/record.json")):
        write_json(path, json.loads(path.read_text()) | {"judge": {"primary": "gold_b"}})
    met = tournament(points(load(root)))
    assert met is not None
    assert met.result.shares[0][1].value == 1.0


def test_the_settings_that_meet_are_those_compared_elsewhere_and_the_control_beside_them(tmp_path: Path) -> None:
    found = points(load(made(tmp_path, ("dpo", "ipo", "sft_chosen"), settings=3)))
    names = {point.algorithm: point for point in chosen(found)}
    assert list(names) == ["dpo", "ipo", "sft_chosen"]
    assert {name: names[name] for name in ("dpo", "ipo")} == comparing.chosen(found)


def test_a_policy_that_is_only_longer_is_held_to_one_half(tmp_path: Path) -> None:
    root = made(tmp_path)

    def longer(row: dict[str, Any]) -> dict[str, Any]:
        generator = np.random.default_rng(int(row["prompt_id"]))
        gaps = np.round(generator.normal(4, 4, 4))
        wins = (generator.random(4) < 1 / (1 + np.exp(-2 * np.tanh(gaps / 4)))).astype(float)
        return row | {"length": 20, "opponent_lengths": (20 - gaps).tolist(), "wins_each": wins.tolist(), "win_sft": float(wins.mean())}

    edit(root, "dpo-*", longer)
    rate = next(each for point, each in length_controlled(points(load(root))).items() if point.algorithm == "dpo")
    assert rate.rate is not None
    assert rate.rate.lower < 0.5 < rate.rate.upper
    assert rate.rate.value < 0.58
    assert rate.phi is not None
    assert rate.phi > 1


def test_old_records_have_a_reason_where_single_outcomes_are_missing(tmp_path: Path) -> None:
    root = made(tmp_path)
    edit(root, "ipo-*", lambda row: {name: value for name, value in row.items() if name not in ("wins_each", "opponent_lengths")})
    table = room(root).tables[0]
    assert cell_of(table, "ipo", "length-controlled") == "recorded before single outcomes were kept"
    assert cell_of(table, "dpo", "length-controlled").startswith("0.")
    assert section_winrate.NO_GREEDY in room(root).paragraphs


def test_truncated_is_what_eos_did_not_end(tmp_path: Path) -> None:
    table = room(made(tmp_path)).tables[0]
    assert cell_of(table, "dpo", "EOS rate") == "0.970 [0.960, 0.980]"
    assert cell_of(table, "dpo", "truncated") == "0.030 [0.020, 0.040]"


@pytest.mark.parametrize("seeds", [1, 2])
def test_greedy_decoding_stands_beside_temperature_one(tmp_path: Path, seeds: int) -> None:
    root = synthetic.decoded(made(tmp_path, seeds=seeds), at=(0.0,), n=384)
    section = room(root)
    table = section.tables[-1]
    assert [row[0] for row in table.rows] == ["SFT reference", "dpo", "ipo", "kto"]
    assert section_winrate.NO_GREEDY not in section.paragraphs
    assert not any("KL" in heading for heading in table.headings)
    assert [drawn.name for drawn in section.figures] == ["headtohead"]  # two temperatures are a table
    point = points(load(root))[0]
    change, greedy, drawn = greedy_change(point, "win_sft"), at(point.cells, "win_sft", 0.0), point.get("win_sft")
    assert change is not None
    assert greedy is not None
    assert drawn is not None
    rows = [np.mean([row["win_sft"] for row in each[1.0, "evaluation"]]) for each in point.rows]
    cold = [np.mean([row["win_sft"] for row in synthetic.cold(cell.folder, 0.0)]) for cell in point.cells]
    assert change.value == pytest.approx(np.mean(cold) - np.mean(rows))


def test_three_temperatures_make_a_figure_of_both_opponents(tmp_path: Path) -> None:
    root = synthetic.decoded(made(tmp_path), at=(0.0, 0.5))
    figure = next(drawn for drawn in room(root).figures if drawn.name == "temperatures")
    assert {row["panel"] for row in figure.rows} == {"win_sft", "win_reference"}
    assert {row["temperature"] for row in figure.rows} == {0.0, 0.5, 1.0}
    assert {row["algorithm"] for row in figure.rows} == {"dpo", "ipo", "kto", "SFT reference"}
    assert all(row["lower"] <= row["value"] <= row["upper"] for row in figure.rows)


def test_a_cell_without_the_temperature_of_its_other_seed_has_no_number(tmp_path: Path) -> None:
    root = synthetic.decoded(made(tmp_path, ("dpo",), seeds=2), at=(0.0,))
    (next(iter(sorted(root.glob("cells/*-seed1-*")))) / "temperatures.json").unlink()
    assert at(points(load(root))[0].cells, "win_sft", 0.0) is None
    assert synthetic.text(root)


def test_a_constant_output_rings_and_a_varied_one_does_not(tmp_path: Path) -> None:
    same, varied = [Response("no .")] * 6 + [Response("yes .")] * 4, [Response(f"{i} .") for i in range(10)]
    assert constant_alarm(same) == "constant output: one text answers 60% of 10 prompts"
    assert constant_alarm(varied) == ""
    assert constant_alarm([Response("no .")] * 5 + varied[:5]) == ""  # half is not more than half
    rings, silent = made(tmp_path / "a"), made(tmp_path / "b")
    path = next(iter(sorted(rings.glob("cells/dpo-*/record.json"))))
    record = json.loads(path.read_text())
    record["checkpoints"][-1]["alarms"] = [constant_alarm(same)]
    write_json(path, record)
    assert any(text.startswith("Constant output") and "dpo beta=0.5 at temperature 1 (seed 0)" in text for text in room(rings).paragraphs)
    assert not any(text.startswith("Constant output") for text in room(silent).paragraphs)


def test_a_study_without_win_rates_has_no_such_room(tmp_path: Path) -> None:
    root = made(tmp_path)
    for path in sorted(root.glob("cells/*/record.json")):
        record = json.loads(path.read_text())
        for checkpoint in record["checkpoints"]:
            checkpoint["metrics"] = {"kl": checkpoint["metrics"]["kl"]}
        write_json(path, record)
    loaded = load(root)
    assert section_winrate.section(loaded, points(loaded), {}) is None
