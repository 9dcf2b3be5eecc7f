"""What a run says of itself at a mark: the same alarms as a reader of its files raises, and the first samples."""

from __future__ import annotations

import json
from pathlib import Path

from harness.planning.experiment import Experiment, resolve
from harness.report import alarms
from harness.report.alarm import Run
from harness.store import records
from harness.store.writer import CellWriter
from harness.types import Defaults
from harness.watching import watched


def experiment(**given: object) -> Experiment:
    return resolve({"task": "toy", "algorithms": ["dpo"], **given}, None, Defaults(algorithms=("dpo",), model="tiny-64"))


def test_a_mark_is_written_with_samples_and_the_alarms_that_a_reader_would_raise(tmp_path: Path) -> None:
    kl = {"value": 12.3456789, "lower": 11.0, "upper": 13.0, "n": 4}
    texts = {"mark": 1.0, "prompt": "p", "sft_response": "s", "kl": 12.3456789}
    parts = [(part, i) for part in ("evaluation", "harmful") for i in range(5)]
    rows = [{**texts, "slice": part, "prompt_id": i, "response": f"r{i}", "k1": 12.0 + i} for part, i in parts]
    checkpoints = [{"mark": 1.0, "share": 1.0, "step": 9, "final": True, "started": True, "metrics": {"kl": kl}, "alarms": ["in words"]}]
    with CellWriter(tmp_path) as writer:
        writer.log({"step": 1, "share": 1.0, "loss": 0.5})
        writer.samples(rows)
        found = watched.said(writer, checkpoints, "gold", rows, experiment())
        (mark,) = [json.loads(text) for text in (tmp_path / records.MARKS).read_text().splitlines()]
        assert watched.said(writer, checkpoints, "gold", rows, experiment(alarms={"kl_beyond": 11.5})) == []
        writer.finish({"kind": "cell", "status": "finished", "checkpoints": checkpoints, "alarms": [each.plain() for each in found]}, {})
    assert [each["name"] for each in mark["alarms"]] == ["kl_beyond"]
    assert [each["response"] for each in mark["samples"]] == ["r0", "r1", "r2"]
    cell = records.Cell(tmp_path, records.read_one(tmp_path))
    later = alarms.raised(Run.of(cell.record, cell.samples(), cell.metrics()), alarms.thresholds({}))
    assert [json.loads(json.dumps(each.plain())) for each in later] == cell.record["alarms"] == mark["alarms"]


def test_an_error_while_watching_costs_the_run_nothing(tmp_path: Path) -> None:
    with CellWriter(tmp_path) as writer:
        assert watched.said(writer, [{"mark": 1.0}], "gold", [{"no": "slice"}], experiment()) == []
        writer.finish({"kind": "cell", "status": "finished"}, {})
    assert "KeyError" in (tmp_path / records.LOG).read_text()
