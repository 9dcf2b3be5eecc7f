"""``harness control``: what it runs, what it makes of records, and the whole line on a tiny budget."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import control
from harness.errors import HarnessError
from harness.measure.statistics import Interval
from harness.planning.experiment import Experiment, resolve, study_key
from harness.plugins import registry
from harness.report.points import load
from harness.store.records import write_json
from harness.tuning import trials
from harness.types import Defaults
from tests.report import synthetic


def base(**flags: Any) -> Experiment:
    names = ["dpo", *(entry.name for entry in registry.describe("algorithms") if entry.declaration.metadata.get("control")), "ipo"]
    return resolve({"task": "toy", "algorithms": names, "seeds": 2, **flags}, None, Defaults(algorithms=("dpo",), model="tiny-64"))


def test_the_first_algorithm_is_set_against_itself_beside_the_controls() -> None:
    found = control.against_itself(base(), 3)
    subject, *others = found.algorithms
    assert subject.name == "dpo"
    assert [setting["replicate"] for setting in subject.settings] == list(range(6))
    assert len({json.dumps({**setting, "replicate": 0}) for setting in subject.settings}) == 1
    assert others
    assert "ipo" not in {plan.name for plan in others}
    assert all(len(plan.settings) == 1 for plan in others)
    assert study_key(found) == study_key(base())


def test_shuffled_labels_are_a_study_of_their_own() -> None:
    found = control.without_labels(base())
    assert (found.labels, [plan.name for plan in found.algorithms], found.cell_count) == ("shuffled", ["dpo"], 2)
    assert study_key(found) != study_key(base())


def test_an_experiment_that_tunes_is_controlled_at_declared_settings_and_one_budget() -> None:
    tuned = base(tune=2, kl_targets=[1.0], checkpoint="best", budget="1x,2x")
    for found in (control.against_itself(tuned, 3), control.without_labels(tuned)):
        assert (found.tune, found.kl_targets, found.checkpoint, found.budget) == (0, (), "last", tuned.budget[:1])
        assert not (trials.tunes(found) or trials.has_tuner(found))


def test_replicates_of_other_settings_budgets_and_seeds_are_not_pooled(tmp_path: Path) -> None:
    """The folder holds an earlier control: more replicates, another middle setting, another budget, a third seed."""
    given = base(seeds=2)
    asked = control.against_itself(given, 1).algorithms[0].settings
    assert [setting["replicate"] for setting in asked] == [0, 1]
    knob = next(name for name in asked[0] if name != "replicate")
    others = [{**asked[0], "replicate": 2}, {**asked[0], knob: 0.123}]
    for index, setting in enumerate((*asked, *others)):
        for seed in range(3):
            shutil.move(synthetic.cell(tmp_path, "dpo", 0, seed, setting=setting), tmp_path / "cells" / f"run{index}-{seed}")
    shutil.move(synthetic.cell(tmp_path, "dpo", 0, 0, setting=asked[0], budget=2), tmp_path / "cells" / "large")
    write_json(tmp_path / "experiment.json", {"study": "toy-00000000", "budgets": [{"spec": "2epochs", "limit": synthetic.FLOPS}]})
    found = control.own(load(tmp_path), control.against_itself(given, 1))
    assert sorted(point.head["setting"]["replicate"] for point in found) == [0, 1]
    assert all(point.seeds == (0, 1) and point.limit == synthetic.FLOPS for point in found)
    assert len({point.head["setting"][knob] for point in found}) == 1


def test_a_win_rate_of_two_seeds_has_bounds_that_a_win_rate_can_have(tmp_path: Path) -> None:
    """One seed wins every prompt and the other none: the widened seeds' spread alone would reach from below 0 to above 1."""
    synthetic.study(tmp_path, ("dpo",), seeds=2, settings=1, failed=False)
    for path in (tmp_path / "cells").glob("*/samples.jsonl.gz"):
        rows = [json.loads(text) for text in gzip.decompress(path.read_bytes()).splitlines()]
        told = [{**row, "win_sft": float("seed1" in path.parent.name)} if "win_sft" in row else row for row in rows]
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in told).encode()))
    (row,) = control.levels(load(tmp_path).points, "shuffled labels", expected=0.5)
    assert (row["lower"], row["value"], row["upper"]) == (0.0, 0.5, 1.0)


def test_one_seed_cannot_be_controlled(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="at least 2 seeds, found 1"):
        control.run(base(seeds=1), tmp_path, task=None)  # type: ignore[arg-type]


def test_the_table_has_every_row_with_its_interval() -> None:
    row = control._row("A/A", "sign-flip test", Interval(0.05, 0.001, 0.249, 20), "at most .05")
    assert control.table([row]).splitlines()[-1] == "| A/A | sign-flip test | 0.050 | [0.001, 0.249] | 20 | at most .05 |"


def test_the_published_table_is_the_recorded_one_and_its_false_positives_are_few() -> None:
    docs = Path(__file__).parents[1] / "docs"
    found = json.loads((docs / "statistics/controls.json").read_text())
    assert control.table(found["rows"]) in (docs / "statistics.md").read_text()
    assert found["replicates"] == control.REPLICATES
    rows = {row["what"]: row for row in found["rows"]}
    assert rows["95 % interval excludes 0"]["lower"] <= 0.05
    assert rows["sign-flip test, p <= .05"]["lower"] <= 0.05
    assert rows["win rate of dpo"]["lower"] <= 0.5 <= rows["win rate of dpo"]["upper"]


def test_two_halves_that_differ_are_found_out() -> None:
    """A/A rows of runs that are not alike: the interval excludes 0 every time, so the control can fail."""
    generator = np.random.default_rng(0)
    good, bad = ([(generator.random((6, 100)) < share).astype(float) for _ in range(4)] for share in (0.9, 0.3))
    rows = {row["what"]: row["value"] for row in control._known(good, bad)}
    assert rows["95 % interval excludes 0"] == 1.0
    assert rows["95 % interval holds 0"] == 0.0


def test_a_difference_that_cannot_be_planted_is_empty_with_its_reason() -> None:
    full = [np.ones((3, 20))] * 3
    last = control._known(full, full)[-1]
    assert (last["control"], last["value"]) == ("planted", None)
    assert control.table([last]).splitlines()[-1].startswith("| planted | not measured: the outcomes leave no room")


TINY = """
task = "tldr"
model = "tiny-64"
sft_steps = 40
pairs = 96
evaluation_prompts = 32
seeds = [0, 1]
budget = "1epochs"
"""


@pytest.mark.slow
def test_the_whole_line_trains_replicates_that_differ_by_their_draws_alone(tmp_path: Path, command: Any) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    line = ("control", "tiny.toml", "--algorithms", "dpo,sft_chosen", "--replicates", "2", "--results", "results", "--jobs", "1")
    run = command(*line, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    found = json.loads((tmp_path / "results" / "controls" / "controls.json").read_text())
    assert {row["control"] for row in found["rows"]} >= {"A/A", "control", "shuffled labels"}
    assert "| A/A | 95 % interval excludes 0 |" in run.stdout
    cells = {path.parent.name.rpartition("-")[0]: path for path in (tmp_path / "results" / "controls").glob("*/cells/dpo*/metrics.jsonl")}
    losses = {name: path.read_text() for name, path in cells.items() if "seed0" in name and "replicate" in name}
    assert len(losses) == 4
    assert len(set(losses.values())) == 4
