"""Records that are broken, foreign or impossible: named, counted, left out, and never the end of the report of the rest."""

from __future__ import annotations

import gzip
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import cli
from harness.report import findings, page, tables
from harness.report.points import Loaded, load, points
from harness.store import records
from tests.report import synthetic

BROKEN = "dpo-beta=0.5-seed0-0a1b2c3d"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two algorithms at one setting, one seed, and the reference."""
    return synthetic.study(tmp_path / "toy-1", ("dpo", "ipo"), settings=1, failed=False)


def edit_record(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads((folder / records.RECORD).read_text())
    change(record)
    (folder / records.RECORD).write_text(json.dumps(record))  # NaN stays, as a foreign writer leaves it


def edit_samples(folder: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    path = folder / records.SAMPLES
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    change(rows)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def truncate(path: Path, keep: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def final(record: dict[str, Any]) -> dict[str, Any]:
    return dict(record["checkpoints"][-1]["metrics"])


def evaluation(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return next(row for row in rows if row["slice"] == "evaluation" and row["mark"] == 1.0)


BREAKAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "corrupt record": (lambda cell: (cell / "record.json").write_text('{"kind": '), "record.json cannot be read"),
    "binary record": (lambda cell: (cell / "record.json").write_bytes(b"\xff\xfe\x00"), "record.json cannot be read"),
    "a list for a record": (lambda cell: (cell / "record.json").write_text("[1]"), "holds a list, not a mapping"),
    "foreign schema": (lambda cell: edit_record(cell, lambda r: r.update(schema=99)), "schema 99"),
    "foreign record": (
        lambda cell: (cell / "record.json").write_text('{"schema": 1, "kind": "cell"}'),
        "without the name of its algorithm",
    ),
    "foreign checkpoints": (lambda cell: edit_record(cell, lambda r: r.update(checkpoints=["x"])), "a checkpoint without a mark"),
    "foreign status": (lambda cell: edit_record(cell, lambda r: r.update(status="well")), "status 'well' is none of finished"),
    "no compute": (lambda cell: edit_record(cell, lambda r: r.pop("compute")), "does not say what it spent"),
    "truncated samples": (lambda cell: truncate(cell / "samples.jsonl.gz"), "samples.jsonl.gz is not a whole gzip file"),
    "samples that are no gzip": (lambda cell: (cell / "samples.jsonl.gz").write_bytes(b"PK"), "is not a whole gzip file"),
    "samples that are no rows": (
        lambda cell: (cell / "samples.jsonl.gz").write_bytes(gzip.compress(b"[1]\n")),
        "holds a list, not a mapping",
    ),
    "binary metrics": (lambda cell: (cell / "metrics.jsonl").write_bytes(b"\xff\xfe\n"), "metrics.jsonl, line 1 is not JSON"),
    "corrupt times": (lambda cell: (cell / "times.json").write_text("{"), "times.json cannot be read"),
    "a win rate above 1": (
        lambda cell: edit_record(cell, lambda r: final(r)["win_sft"].update(value=1.7)),
        "win_sft at mark 1 is 1.7; an outcome lies between 0 and 1",
    ),
    "an outcome below 0": (
        lambda cell: edit_samples(cell, lambda rows: evaluation(rows).update(win_sft=-0.5)),
        "win_sft of prompt 0 is -0.5; an outcome lies between 0 and 1",
    ),
    "duplicated rows": (
        lambda cell: edit_samples(cell, lambda rows: rows.append(evaluation(rows))),
        "duplicated sample rows: mark 1.0, slice evaluation, prompt_id 0 occurs 2 times",
    ),
    "a sample without text": (lambda cell: edit_samples(cell, lambda rows: evaluation(rows).pop("response")), "prompt 0 has no text"),
    "a sample without prompt": (lambda cell: edit_samples(cell, lambda rows: evaluation(rows).pop("prompt_id")), "without its prompt"),
    "another task": (
        lambda cell: edit_record(cell, lambda r: (r.update(study="other"), r["task"].update(name="chess"))),
        "never pooled with records of another task (toy; this one is of chess)",
    ),
    "another dtype": (
        lambda cell: (
            edit_record(cell, lambda r: r["model"].update(dtype="bfloat16")),
            edit_record(cell.parents[1] / "references" / "seed0", lambda r: r.update(model={"dtype": "float32"})),
        ),
        "never pooled with records of another dtype (float32; this one is of bfloat16)",
    ),
}


def shown(study: Loaded) -> list[str]:
    return [point.algorithm for point in points(study)]


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_cell_is_left_out_by_name_counted_and_harms_no_other(study: Path, name: str) -> None:
    spoil, said = BREAKAGES[name]
    spoil(study / "cells" / BROKEN)
    found = load(study)
    (line,) = found.skipped
    assert line.startswith(BROKEN) and said in line and "\n" not in line
    assert shown(found) == ["ipo"]
    assert "1 not readable or not poolable" in str(findings.counts(found))
    assert (line, "skipped", "") in findings.losses(found)


def test_the_page_of_a_broken_study_stands_and_names_what_it_left_out(study: Path) -> None:
    truncate(study / "cells" / BROKEN / "samples.jsonl.gz")
    (study / "cells" / "ipo-gap=1-seed0-0a1b2c3d" / "metrics.jsonl").write_bytes(b"\xff\n")
    synthetic.cell(study, "kto", 0, 0)
    text = synthetic.text(study)
    assert "samples.jsonl.gz is not a whole gzip file" in text
    assert "metrics.jsonl, line 1 is not JSON" in text
    assert "1 cells run, 1 shown" in text and "2 not readable" in text


def test_a_broken_reference_is_left_out_like_a_cell(study: Path) -> None:
    truncate(study / "references" / "seed0" / "samples.jsonl.gz")
    found = load(study)
    assert found.references == () and shown(found) == ["dpo", "ipo"]
    assert found.skipped[0].startswith("seed0/samples.jsonl.gz")


def test_a_kl_that_is_not_a_number_is_an_empty_cell_with_its_reason(study: Path) -> None:
    edit_record(study / "cells" / BROKEN, lambda r: final(r)["kl"].update(value=math.nan))
    found = load(study)
    assert found.skipped == ()
    assert points(found)[0].get("kl") is None
    kl = [column for column in tables.MAIN if column.key == "kl"]
    assert tables.lines(found, kl)[1].values[0].reason == "not defined for this task"


def test_nan_among_the_samples_of_several_seeds_leaves_the_mean_without_bounds(study: Path) -> None:
    synthetic.cell(study, "dpo", 0, 1)
    edit_samples(study / "cells" / BROKEN, lambda rows: evaluation(rows).update(kl=math.nan))
    kl = points(load(study))[0].get("kl")
    assert kl is not None and math.isnan(kl.lower) and math.isfinite(kl.value)


def test_one_seed_and_one_prompt_have_no_bounds_and_say_so(tmp_path: Path) -> None:
    root = synthetic.study(tmp_path / "one", ("dpo",), settings=1, failed=False)
    for folder in (root / "cells").iterdir():
        edit_record(folder, lambda r: [m.update(lower=None, upper=None, n=1) for m in final(r).values()])
    found = load(root)
    (win,) = [column for column in tables.MAIN if column.key == "win_sft"]
    value = tables.lines(found, [win])[1].values[0]
    assert (value.bounds, value.n) == ("[no bounds]", "n=1")
    assert findings.seeds_line(points(found)).startswith("1 seed: no ranking")


def test_all_ties_are_a_half_without_spread(study: Path) -> None:
    def tie(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row.update({name: value for name, value in (("win_sft", 0.5), ("tie_sft", 1.0)) if name in row})

    for seed in (0, 1):
        edit_samples(synthetic.cell(study, "dpo", 0, seed), tie)
    win = points(load(study))[0].get("win_sft")
    assert win is not None and (win.value, win.lower, win.upper) == pytest.approx((0.5, 0.5, 0.5))


def test_a_study_without_a_cell_is_a_page_that_says_so(tmp_path: Path) -> None:
    records.write_json(tmp_path / "experiment.json", {"task": "toy", "study": "toy"})
    assert "0 cells run, 0 shown" in page.write(tmp_path).read_text(encoding="utf-8")
    assert tables.summary(tmp_path).startswith("No finished cell. 0 cells run")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_an_empty_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "report", str(tmp_path)) == 2
    assert capsys.readouterr().err.startswith(f"error: No study at or directly below {tmp_path}")


def test_a_broken_study_does_not_keep_the_others_from_their_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        records.write_json(tmp_path / name / "experiment.json", {"task": "toy"})
    (tmp_path / "a" / "experiment.json").write_text("{")
    assert run(monkeypatch, "report", str(tmp_path)) == 1
    printed = capsys.readouterr()
    assert printed.out == f"Report: {tmp_path / 'b' / 'report' / 'index.html'}\n"
    assert printed.err.startswith("error: a/experiment.json cannot be read") and printed.err.count("\n") == 1
    assert run(monkeypatch, "list", "runs", "--results", str(tmp_path)) == 0
    assert "a/experiment.json cannot be read" in capsys.readouterr().out


def test_the_checks_read_every_sample_once(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is checked at loading is what the page shows: a file is not decompressed a second time."""
    read: list[Path] = []
    original = records.rows
    monkeypatch.setattr(records, "rows", lambda path, content: (read.append(path), original(path, content))[1])
    for point in points(load(study)):
        assert point.rows
    samples = [path for path in read if path.name == records.SAMPLES]
    assert len(samples) == len(set(samples)) == 3


def test_sound_numbers_are_left_alone(study: Path) -> None:
    assert load(study).skipped == ()
    assert np.isfinite(points(load(study))[0].value("win_sft"))
