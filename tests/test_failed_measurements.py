"""A reference or a frontier that cannot be measured: said and counted, tried again, and no reason to lose what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import compare
from harness.models import threads
from harness.planning.budget import Budget
from harness.planning.experiment import Experiment, resolve
from harness.report import tables
from harness.running import baseline, mixture, work
from harness.store import failing, records
from harness.store.writer import CellWriter
from harness.training.ledger import Ledger
from harness.types import Defaults
from tests.report import synthetic


def quiet(*_: object) -> None:
    pass


@pytest.fixture
def experiment() -> Experiment:
    return resolve({"task": "toy", "seeds": 2}, None, Defaults(algorithms=("dpo",), model="tiny-64"))


@pytest.fixture(params=["references", "frontiers"])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which measurement is broken: the first thing that it does raises."""

    def broken(*_: object) -> Any:
        raise OSError("no space left")

    monkeypatch.setattr(baseline if request.param == "references" else mixture, "shared", broken)
    return str(request.param)


def measure(room: str, experiment: Experiment, study: Path) -> str:
    if room == "references":
        return baseline.measure_reference(experiment, 0, study / room / "seed0", quiet)
    return mixture.measure_mixture(experiment, 0, study, quiet)


def names(experiment: Experiment, study: Path) -> set[str]:
    spending = {spec: Budget(spec, "flops", 1.0, 1.0) for spec in experiment.budget}
    return {job.name for job in compare._jobs(experiment, study, spending, False)}


def test_a_failed_measurement_is_recorded_counted_and_tried_again(room: str, experiment: Experiment, tmp_path: Path) -> None:
    assert measure(room, experiment, tmp_path) == "failed"
    folder = tmp_path / room / "seed0"
    record = json.loads((folder / records.RECORD).read_text())
    assert record["status"] == "failed" and record["failure"]["message"] == "OSError: no space left"
    assert "Traceback" in (folder / records.LOG).read_text()
    assert compare.failures(tmp_path, experiment) == [f"{room}/seed0"]
    wanted = {"references": "measure-reference-seed0", "frontiers": "frontier-seed0"}[room]
    assert wanted in names(experiment, tmp_path)


def test_what_an_earlier_measurement_found_is_kept_and_says_that_the_last_one_failed(
    room: str, experiment: Experiment, tmp_path: Path
) -> None:
    folder = tmp_path / room / "seed0"
    kind = {"references": "reference", "frontiers": "frontier"}[room]
    with CellWriter(folder) as writer:
        writer.samples([{"mark": 0.0, "gold": 1.5}])
        writer.finish({"kind": kind, "status": "finished", "failure": None, "number": 0.1 + 0.2}, {"wall": {}})
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in (records.RECORD, records.LOG)}
    assert failing.settled(folder) and compare.failures(tmp_path, experiment) == []
    assert measure(room, experiment, tmp_path) == "failed"
    record = json.loads((folder / records.RECORD).read_text())
    assert record["status"] == "finished" and record["number"] == 0.1 + 0.2 and "no space" in record["failure"]["message"]
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in (records.RECORD, records.LOG)} == before
    assert "Traceback" in (folder / records.LOG).read_text()
    assert not failing.settled(folder) and compare.failures(tmp_path, experiment) == [f"{room}/seed0"]


def test_a_reference_without_its_frontier_samples_is_kept_but_not_instead_of_one_with_them(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise ValueError("no score")

    monkeypatch.setattr(baseline, "reference_rows", broken)
    given: Any = None
    rows, error = baseline._frontier_rows(experiment, given, given, Ledger(1.0), kept=False)
    assert rows == [] and str(error) == "no score"
    with pytest.raises(ValueError, match="no score"):
        baseline._frontier_rows(experiment, given, given, Ledger(1.0), kept=True)


def test_a_report_leaves_a_failed_reference_out_and_names_it(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = synthetic.study(tmp_path, ("dpo", "ipo"), settings=1, failed=False)
    (study / "references" / "seed0" / records.RECORD).unlink()
    monkeypatch.setattr(baseline, "shared", lambda *_: 1 / 0)
    assert measure("references", experiment, study) == "failed"
    found = records.read(study)
    assert found.references == () and len(found.cells) == 2
    assert any("seed0: the reference could not be measured: ZeroDivisionError" in each for each in found.skipped)
    assert "dpo" in tables.summary(study)


def test_shared_stages_come_first_even_where_only_a_frontier_is_left(experiment: Experiment, tmp_path: Path) -> None:
    """They are cached under their own number of threads, which no other job has."""
    spending = {spec: Budget(spec, "flops", 1.0, 1.0) for spec in experiment.budget}
    for job in compare._jobs(experiment, tmp_path, spending, False):
        if job.function is work.run_cell or job.function is work.measure_reference:
            folder = job.arguments[-1]
            assert isinstance(folder, Path)
            with CellWriter(folder) as writer:
                writer.finish({"kind": "cell", "status": "finished"}, {})
    experiment = experiment.model_copy(update={"temperatures": ()})
    left = list(compare._jobs(experiment, tmp_path, spending, False))
    assert [job.name for job in left] == ["reference-seed0", "frontier-seed0", "reference-seed1", "frontier-seed1"]
    assert [job.after for job in left] == [(), ("reference-seed0",), (), ("reference-seed1",)]
    assert [job.threads for job in left] == [experiment.stage_threads] * 4  # both run alone


def test_shared_stages_share_the_work_among_threads_of_one_of_torchs_each(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    cpu = torch.device("cpu")
    monkeypatch.setattr(baseline, "scene", lambda *_, **__: seen.append((threads.count(cpu), torch.get_num_threads())))
    assert baseline.prepare(experiment, 0, quiet) == "finished"
    assert seen == [(experiment.stage_threads, 1)] and threads.count(cpu) == 1
