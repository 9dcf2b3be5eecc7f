"""Scores over the frontier from whole records: planted efficiencies, who takes part, what is left empty and why."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from harness.measure.statistics import prompt_interval
from harness.report import section_frontier
from harness.report.optimum import GOLD, WIN, optima
from harness.report.points import load, points
from harness.report.scores import board, efficiency, scores
from harness.report.section import Grid, Section
from harness.report.winrate import tournament
from harness.store.records import compressed, line


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change every sample row of a cell where it lies."""
    path = folder / "samples.jsonl.gz"
    rows = [json.loads(text) for text in gzip.decompress(path.read_bytes()).decode().splitlines()]
    path.write_bytes(compressed("".join(line(change(row)) + "\n" for row in rows)))


def edit(study: Path, pattern: str, change: Callable[[dict[str, Any]], None]) -> None:
    for path in study.glob(f"{pattern}/record.json"):
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))


def made(study: Path) -> Section:
    loaded = load(study)
    found = section_frontier.section(loaded, points(loaded), {})
    assert found is not None
    return found


def table(found: Section, start: str) -> Grid:
    return next(grid for grid in found.tables if grid.caption.startswith(start))


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_policy_with_half_the_optimal_gain_has_efficiency_one_half(tmp_path: Path, seeds: int) -> None:
    """The synthetic reference's gold is N(m, 1) within a prompt, so the optimal gain at KL k is sqrt(2 k): .3 nats allow .775."""
    study = synthetic.study(tmp_path, ("dpo", "kto"), seeds=seeds, settings=2, failed=False)
    for folder in study.glob("cells/dpo-beta=0.5*"):
        rewrite(folder, lambda row: row | {"kl": 0.3, "gold": 2.2 + 0.5 * 0.6**0.5} if row["slice"] == "evaluation" else row)
    loaded = load(study)
    found = board(points(loaded), loaded.references, GOLD)
    assert found is not None
    share = efficiency(found, optima(loaded.references)[GOLD])
    planted = share[next(point for point in found.points if point.setting == "beta=0.5")]
    assert not isinstance(planted, str)
    assert planted.value == pytest.approx(0.5, abs=0.06)
    assert planted.lower < 0.5 < planted.upper and planted.n == 384
    assert any(isinstance(each, str) and "beyond the line" in each for each in share.values())


def test_the_optima_are_those_of_a_gaussian_reward_over_all_seeds(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo",), seeds=2, failed=False)
    lines = optima(load(study).references)
    gold = lines[GOLD].spots
    assert np.interp(0.5, [spot.kl.value for spot in gold], [spot.value.value for spot in gold]) == pytest.approx(2.2 + 1.0, abs=0.06)
    assert all(spot.ess >= 8 for line in lines.values() for spot in line.spots)
    assert lines[WIN].kl is not None and lines[WIN].kl.shape[1:] == (2, 384)
    assert lines[WIN].spots[0].value.value == pytest.approx(0.5, abs=1e-6)
    assert lines[GOLD].value is not None
    alone = prompt_interval(lines[GOLD].value[9].mean(0), generator=np.random.default_rng(0), resamples=1000)
    assert gold[9].value == pytest.approx(alone)


def test_controls_and_oracles_stay_out_of_pairs_and_do_not_shorten_a_range(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo", "ipo", "ppo", "sft_chosen"), failed=False)
    edit(study, "cells/ppo*", lambda record: record["algorithm"].update({"oracle": True}))
    loaded = load(study)
    found = board(points(loaded), loaded.references, WIN)
    assert found is not None
    result = scores(found, 3.0)
    assert list(result.pairs) == [("dpo", "ipo")]
    assert result.pairs["dpo", "ipo"][1] == pytest.approx(min(result.ends["dpo"][1], result.ends["ipo"][1]))
    assert "sft_chosen" in result.area and ("sft_chosen", 0.5) not in result.at


def test_bounds_of_shares_stay_within_zero_and_one(tmp_path: Path) -> None:
    """With two seeds the t-factor multiplies their spread by 12.7: a win rate's bounds would reach below 0, a share's above 1."""
    loaded = load(synthetic.study(tmp_path, ("dpo", "ipo"), seeds=2, settings=2, failed=False))
    found = board(points(loaded), loaded.references, WIN)
    assert found is not None
    result = scores(found, 3.0)
    intervals = [*result.area.values(), *result.at.values(), *result.dominated.values()]
    assert all(0 <= each.lower <= each.upper <= 1 for each in intervals)


def test_every_algorithm_is_scored_on_as_many_points(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo", "ipo"), failed=False)
    next(iter(study.glob("cells/ipo*gap=5*"))).joinpath("record.json").unlink()
    loaded = load(study)
    found = board(points(loaded), loaded.references, WIN)
    assert found is not None and len(found.points) == 5
    assert scores(found, 3.0).points == 2


def test_the_room_says_what_is_missing(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo", "dpop", "sft_chosen"), failed=False)
    edit(study, "cells/dpo-*", lambda record: record["algorithm"].update({"optimum": "reward-tilt"}))
    found = made(study)
    row = next(row for row in table(found, "Envelopes of win rate").rows if row[0] == "dpop")
    assert row[2] == "flat from 0.91" or row[2].startswith("flat from 0.9")
    assert row[-2] == f"(KL ends at {row[2].removeprefix('flat from ')})"
    assert "reward-tilt: dpo; none known: dpop, sft_chosen" in " ".join(found.paragraphs)
    reach = table(found, "Charged canonical FLOPs")
    assert any("mark 0." in cell for row in reach.rows for cell in row) and any("(not reached; highest" in cell for cell in reach.rows[-1])
    assert all(len(row) == len(grid.headings) for grid in found.tables for row in grid.rows)


@pytest.mark.parametrize(("seeds", "rising"), [(1, False), (3, False), (3, True)])
def test_the_order_of_the_axes_is_compared_where_seeds_and_convergence_allow(tmp_path: Path, seeds: int, rising: bool) -> None:
    """dpo wins more and kto has more gold, beyond doubt: said of converged runs of several seeds, and of nothing else."""
    study = synthetic.study(tmp_path, ("dpo", "kto"), seeds=seeds, settings=2, failed=False)
    for name, win, gold in (("dpo", 0.9, 2.3), ("kto", 0.6, 4.0)):
        for folder in study.glob(f"cells/{name}*"):
            early = win - 0.2 * rising
            rewrite(
                folder,
                lambda row, win=win, gold=gold, early=early: (
                    row | {"win_sft": win if row["mark"] == 1 else early, "gold": gold} if row["slice"] == "evaluation" else row
                ),
            )
    said = " ".join(made(study).paragraphs)
    assert ("opposite orders on the two axes: dpo and kto." in said) == (seeds > 1 and not rising)
    assert ("takes two seeds or more" in said) == (seeds == 1)
    assert ("is not said: of 1 pairs none has converged." in said) == rising


def test_a_line_too_short_for_many_resamples_says_why_an_efficiency_has_no_bounds(tmp_path: Path) -> None:
    """Two points at the very end of the line, their KL so uneven over prompts that many resamples lie beyond it."""
    study = synthetic.study(tmp_path, ("dpo", "kto"), settings=1, failed=False)
    end = optima(load(study).references)[GOLD].spots[-1].kl.value
    for folder in study.glob("cells/*"):
        rewrite(folder, lambda row: row | {"kl": 1.9 * end * (row["prompt_id"] % 2)} if row["slice"] == "evaluation" else row)
    grid = table(made(study), "Efficiency")
    assert "No bounds where the KL of more than 1 in 20 resamples lies beyond the line." in grid.caption
    assert "[no bounds]" in " ".join(grid.rows[0])


def test_an_oracle_stands_on_no_board(tmp_path: Path) -> None:
    """Its name is in no table of envelopes, pairs or compute, nor in any match; it is held against the optimum, which ranks nobody."""
    study = synthetic.study(tmp_path, ("dpo", "kto", "ppo"), settings=1, failed=False)
    edit(study, "cells/ppo*", lambda record: record["algorithm"].update({"oracle": True}))
    found = made(study)
    tables = [grid for grid in found.tables if not grid.caption.startswith("Efficiency")]
    assert not any("ppo" in cell for grid in tables for row in grid.rows for cell in row)
    assert any("ppo (oracle)" in cell for row in table(found, "Efficiency").rows for cell in row)
    assert not any("ppo" in text for text in found.paragraphs)
    met = tournament(points(load(study)))
    assert met is not None and met.result.names == ("dpo", "kto")


def test_an_oracle_alone_is_held_against_the_optimum(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("ppo",), settings=1, failed=False)
    edit(study, "cells/ppo*", lambda record: record["algorithm"].update({"oracle": True}))
    found = made(study)
    assert len(found.tables) == 1
    assert len(table(found, "Efficiency").rows) == 1


def test_without_gold_there_is_one_axis_and_a_reason(tmp_path: Path) -> None:
    found = made(synthetic.study(tmp_path, ("dpo", "kto"), failed=False, gold=False))
    assert not any(grid.caption.startswith("Envelopes of gold") for grid in found.tables)
    assert {row[-1] for row in table(found, "Efficiency").rows} == {"(no samples of the reference)"}


def test_a_point_with_other_seeds_is_left_out_by_name(tmp_path: Path) -> None:
    study = synthetic.study(tmp_path, ("dpo", "kto"), seeds=2, settings=2, failed=False)
    next(iter(study.glob("cells/kto-beta=0.1-seed1*"))).joinpath("record.json").unlink()
    said = made(study).paragraphs
    assert "Not scored, for want of a seed or of prompts that the others have: kto beta=0.1." in said
    assert "No part in the compute that a win rate takes: kto beta=0.1 2epochs (seed 1 missing)." in said
