"""What the harness refuses to say or to do, one test for each refusal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import cli
from harness.errors import HarnessError
from harness.measure.frontier import frontier
from harness.measure.pairwise import ask
from harness.measure.statistics.significance import verdicts
from harness.planning.experiment import resolve
from harness.report import drawing, figure_compute, figure_frontier, findings, tables
from harness.report.palette import looks
from harness.report.points import load, points
from harness.store import records
from harness.types import Array, Defaults, Response
from tests.report import synthetic

JUDGE_LEARNER = '''"""Trains on whatever ``reward`` names."""


class Learner:
    name = "learner"
    {declared}
    reward: str = "model"


algorithm = Learner
'''


def small(root: Path, **flags: Any) -> Path:
    return synthetic.study(root, ("dpo", "ipo"), settings=1, failed=False, **flags)


def test_unmatched_compute_is_not_called_matched(tmp_path: Path) -> None:
    synthetic.cell(small(tmp_path), "kto", 0, 0, flops=1.03 * synthetic.FLOPS)
    said = findings.matching(points(load(tmp_path)))
    assert "matched" not in said
    assert said.startswith("Compute differs: charged canonical FLOPs spread over 3 %")
    assert any("Compute differs" in each for each in findings.cautions(load(tmp_path)))


def test_the_optimal_frontier_is_not_extrapolated_beyond_its_effective_samples() -> None:
    """Towards the best of 32 samples the weights fall on ever fewer of them: the line ends where 8 effective ones are left."""
    scores = np.random.default_rng(0).normal(0, 1, (64, 32))
    line, further = frontier(scores, smallest_ess=8.0), frontier(scores, smallest_ess=2.0)
    assert line.ess.mean(1).min() >= 8.0
    assert line.kl.mean(1).max() < further.kl.mean(1).max()


def test_an_algorithm_s_line_is_not_drawn_beyond_its_measured_kl(tmp_path: Path) -> None:
    found = load(synthetic.study(tmp_path, ("dpo",), settings=2, failed=False))
    shown = points(found)
    with drawing.style():
        drawn = figure_frontier.draw(shown, found.references, looks([("dpo", False)]))
    assert drawn is not None
    measured = max(point.get("kl").value for point in shown)  # type: ignore[union-attr]
    drawn_at = [float(row["kl"]) for row in drawn.rows if row.get("algorithm") == "dpo"]
    assert drawn_at and max(drawn_at) <= measured


def test_the_efficiency_beyond_the_frontier_s_end_is_empty() -> None:
    scores = pytest.importorskip("harness.measure.frontier_scores")
    line = np.array([[0.0], [1.0]])
    assert np.isnan(scores.optimal_gain(line, line, np.array([1.01]))).all()
    assert scores.optimal_gain(line, line, np.array([0.5])).tolist() == [0.5]


def test_no_mark_of_significance_where_the_seeds_allow_none() -> None:
    """Three seeds that all say the same: the smallest two-sided p is 2 / 8."""
    (verdict,) = verdicts([np.array([0.3, 0.31, 0.32])])
    assert not verdict.significant and not verdict.testable
    assert str(verdict) == "not testable: 3 seeds and 1 comparison allow no adjusted p below 0.25"


def test_no_ranking_of_one_seed(tmp_path: Path) -> None:
    assert findings.cautions(load(small(tmp_path)))[0].startswith("1 seed: no ranking.")


def test_an_order_sensitive_judge_is_not_asked_one_way_round() -> None:
    class First:
        name, order_sensitive = "first", True

        def __call__(self, prompts: Sequence[str], first: Sequence[Response], second: Sequence[Response]) -> Array:
            raise AssertionError("it was asked")

    one = [Response("a")]
    with pytest.raises(HarnessError, match=r"judge first: the order of the two responses may sway it.*ask it both ways round"):
        ask(First(), ["p"], one, one, generator=np.random.default_rng(0), both_ways=False)


def learner(tmp_path: Path, declared: str = "") -> tuple[Defaults, dict[str, Any]]:
    path = tmp_path / "learner.py"
    path.write_text(JUDGE_LEARNER.format(declared=declared))
    return Defaults(algorithms=(str(path),), model="tiny-64"), {"task": "t", "set": ["learner.reward=gold"]}


def test_an_algorithm_is_not_trained_on_the_judge_that_measures_it(tmp_path: Path) -> None:
    defaults, flags = learner(tmp_path)
    with pytest.raises(HarnessError, match=r"learner.reward = 'gold': that is the judge, .*Choose another with --judge"):
        resolve(flags, None, defaults, judges=("gold", "gold_b"))
    assert resolve({**flags, "judge": "gold-b"}, None, defaults, judges=("gold", "gold_b")).judge == "gold_b"


def test_an_algorithm_that_declares_an_oracle_may_train_on_the_judge(tmp_path: Path) -> None:
    defaults, flags = learner(tmp_path, 'oracle = {"reward": "gold"}')
    assert resolve(flags, None, defaults).cell_count == 1


OTHERS = {
    "task": ({"task": {"name": "chess", "version": "1-abc", "source": "embedded"}}, "another task (toy; this one is of chess)"),
    "version": ({"task": {"name": "toy", "version": "2-def", "source": "embedded"}}, "another task version (1-abc; this one is of 2-def)"),
    "data": ({"task": {"name": "toy", "version": "1-abc", "source": "x.csv"}}, "another data (embedded; this one is of x.csv)"),
    "judge": ({"judge": {"primary": "gold_b"}}, "another judge (gold; this one is of gold_b)"),
    "assumptions": ({"assumptions": {"labels": "flip"}}, 'another assumptions ({"labels": "bt"}; this one is of {"labels": "flip"})'),
    "study": ({"study": "another"}, "another study (toy-00000000; this one is of another)"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_records_of_another_world_are_not_pooled(tmp_path: Path, name: str) -> None:
    other, said = OTHERS[name]
    usual = {"judge": {"primary": "gold"}, "assumptions": {"labels": "bt"}}
    folder = synthetic.cell(small(tmp_path, **usual), "kto", 0, 0, **usual)
    record = json.loads((folder / records.RECORD).read_text())
    records.write_json(folder / records.RECORD, {**record, **other})
    found = load(tmp_path)
    assert [point.algorithm for point in points(found)] == ["dpo", "ipo"]
    assert found.skipped == (f"{folder.name}: never pooled with records of {said}",)
    assert "1 not readable or not poolable" in str(findings.counts(found))


def test_records_of_another_schema_are_not_read(tmp_path: Path) -> None:
    folder = synthetic.cell(small(tmp_path), "kto", 0, 0)
    record = json.loads((folder / records.RECORD).read_text())
    records.write_json(folder / records.RECORD, {**record, "schema": records.SCHEMA + 1})
    assert f"schema {records.SCHEMA + 1}" in load(tmp_path).skipped[0]


def test_hours_are_not_pooled_over_device_types(tmp_path: Path) -> None:
    folder = synthetic.cell(small(tmp_path), "kto", 0, 0)
    times = json.loads((folder / records.TIMES).read_text())
    records.write_json(folder / records.TIMES, {**times, "device": "NVIDIA H200", "devices": 1})
    found = load(tmp_path)
    table = tables.measured(found, tables.columns(found, tables.MAIN[:1]), costs=True)
    assert table.amounts[1] == "hours (devices differ: not pooled)"
    assert {line.amounts[1] for line in table.lines} == {""}
    with drawing.style():
        drawn = figure_compute.draw(points(found))
    assert drawn is not None and "not pooled" in drawn.caption
    assert {row["panel"] for row in drawn.rows} == {"canonical FLOPs"}


def test_a_command_with_the_judge_as_reward_ends_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "learner.py").write_text(JUDGE_LEARNER.format(declared=""))
    monkeypatch.chdir(tmp_path)
    line = ["harness", "compare", "--task", "tldr", "--algorithms", "./learner.py", "--set", "learner.reward=gold"]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: learner.reward = 'gold': that is the judge")
    assert [path.name for path in tmp_path.iterdir()] == ["learner.py"]
