"""Results of several folders as one report, and what keeps them from it: each named in one line, nothing of them changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import synthetic

import harness
from harness.commands import reporting
from harness.errors import HarnessError
from harness.report import combining
from harness.report.points import points
from harness.store.records import write_json
from tests.conftest import Command


def edited(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    for path in folder.glob("*/*/record.json"):
        record = json.loads(path.read_text())
        change(record)
        write_json(path, record)


def machine(root: Path, names: tuple[str, ...], seeds: tuple[int, ...], **experiment: Any) -> Path:
    """One machine's part of a comparison: its own seeds, every run with a fingerprint of its own, the pairs' hash in its lineage."""
    study = root / "toy-1"
    synthetic.study(study, (), failed=False)
    shutil.rmtree(study / "references")
    for seed in seeds:
        synthetic.reference(study, seed, gold=False)
        for name in names:
            folder = synthetic.cell(study, name, 0, seed)
            lineage = {"judge": {"primary": "gold", "lineage": {"pairs": {"data": [f"pairs {seed}"]}}}}
            record = synthetic.read_record(folder) | lineage | {"fingerprint": hashlib.sha256(folder.name.encode()).hexdigest()}
            write_json(folder / "record.json", record)
    written = json.loads((study / "experiment.json").read_text())
    write_json(study / "experiment.json", written | {"seeds": list(seeds), "algorithms": [{"name": name} for name in names]} | experiment)
    return root


def test_two_machines_seeds_and_algorithms_become_one_study(tmp_path: Path) -> None:
    one, two = machine(tmp_path / "a", ("dpo",), (0, 1)), machine(tmp_path / "b", ("dpo", "kto"), (1, 2))
    found = combining.combined([one, two])
    assert found.problems == []
    ((label, study),) = found.studies
    assert (label, study.experiment["seeds"]) == ("toy", [0, 1, 2])
    assert [each["name"] for each in study.experiment["algorithms"]] == ["dpo", "kto"]
    assert [(point.algorithm, point.seeds) for point in points(study)] == [("dpo", (0, 1, 2)), ("kto", (1, 2))]
    assert len(study.references) == 3
    alone = combining.combined([machine(tmp_path / "c", ("dpo",), (0, 1, 2))]).studies[0][1]
    assert points(study)[0].get("win_sft") == points(alone)[0].get("win_sft")
    swapped = combining.combined([two, one]).studies[0][1]
    assert [cell.folder.name for cell in swapped.cells] == [cell.folder.name for cell in study.cells]


def other_pairs(record: dict[str, Any]) -> None:
    if "judge" in record:
        record["judge"]["lineage"]["pairs"]["data"] = ["pairs x"]


CONFLICTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "other content": (
        lambda root: edited(root / "toy-1", lambda record: record.update(note="x") if record["kind"] == "cell" else None),
        "have the same fingerprint",
    ),
    "other samples": (
        lambda root: shutil.copy(next((root / "toy-1").glob("references/*/samples.jsonl.gz")), next((root / "toy-1").glob("cells/*/"))),
        "and different content",
    ),
    "other reference": (
        lambda root: edited(root / "toy-1", lambda record: record.update(sft={}) if record["kind"] == "reference" else None),
        "have another SFT reference for seed 0",
    ),
    "other data hash": (lambda root: edited(root / "toy-1", other_pairs), "have another data hash for seed 0"),
    "other file": (
        lambda root: edited(root / "toy-1", lambda record: record["algorithm"].update(hash="e" * 64) if "algorithm" in record else None),
        "have another file of algorithm dpo",
    ),
    "seed twice": (
        lambda root: edited(root / "toy-1", lambda record: record.update(fingerprint="d" * 64) if record["kind"] == "cell" else None),
        "have one algorithm, setting, budget and seed under two fingerprints",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFLICTS)
def test_a_contradiction_is_named_and_nothing_is_merged(tmp_path: Path, name: str) -> None:
    change, said = CONFLICTS[name]
    one, two = (machine(tmp_path / each, ("dpo",), (0,)) for each in "ab")
    assert combining.combined([one, two]).problems == []
    change(two)
    found = combining.combined([one, two])
    assert found.studies == []
    assert any(said in str(problem) for problem in found.problems), [str(each) for each in found.problems]
    for problem in found.problems:
        assert str(one) in str(problem) and str(two) in str(problem) and "\n" not in str(problem)


@pytest.mark.parametrize(("version", "said"), [("2-def", "task version or data (1-abc and 2-def)"), ("1-abc", "engine or weights")])
def test_another_task_version_or_engine_is_named(tmp_path: Path, version: str, said: str) -> None:
    one = machine(tmp_path / "a", ("dpo",), (0,), task_version="1-abc")
    two = machine(tmp_path / "b", ("dpo",), (1,), task_version=version, study="other")
    found = combining.combined([one, two])
    assert found.studies == []
    assert [said in str(problem) for problem in found.problems] == [True]
    assert len(combining.combined([one]).studies) == 1


def test_a_record_of_a_newer_schema_ends_the_report_unless_it_may_be_left_out_by_name(tmp_path: Path, command: Command) -> None:
    one, two = machine(tmp_path / "a", ("dpo",), (0, 1)), machine(tmp_path / "b", ("dpo",), (2,))
    newer = next((two / "toy-1" / "cells").iterdir()) / "record.json"
    write_json(newer, json.loads(newer.read_text()) | {"schema": 2})
    before = {path: path.read_bytes() for root in (one, two) for path in root.rglob("*") if path.is_file()}
    for formats in ("csv,latex", "html"):
        done = command("report", two, "--format", formats, "--out", tmp_path / "out")
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and "schema newer than 1" in done.stderr
        assert "dpo-beta=0.5-seed2-0a1b2c3d" in done.stderr and "--leave-out-newer" in done.stderr
        assert not (tmp_path / "out").exists()
    with pytest.raises(HarnessError, match="schema newer than 1"):
        harness.load(two)
    assert harness.load(two, leave_out_newer=True).rows == ()
    done = command("report", one, two, "--format", "csv,latex", "--out", tmp_path / "out", "--leave-out-newer")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Left out: toy-1: dpo-beta=0.5-seed2-0a1b2c3d: schema 2, kind 'cell'; this version reads schema 1" in done.stdout
    assert "HarnessToyDpoSeeds}{2}" in (tmp_path / "out" / "macros.tex").read_text()
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(("name", "lines"), [("other reference", 1), ("other data hash", 2)])
def test_a_conflict_on_the_command_line_is_one_line_and_other_studies_are_reported(
    tmp_path: Path, command: Command, name: str, lines: int
) -> None:
    """A run of other data is other content under the same fingerprint as well: a line for each."""
    change, said = CONFLICTS[name]
    one, two = (machine(tmp_path / each, ("dpo",), (0,)) for each in "ab")
    change(two)
    shutil.copytree(one / "toy-1", one / "other-1")
    write_json(one / "other-1" / "experiment.json", {"task": "other", "study": "other", "seeds": [0]})
    edited(one / "other-1", lambda record: record.update(study="other", task={"name": "other", "version": "1"}))
    done = command("report", one, two, "--format", "csv", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == lines and said in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "out" / "table.csv").read_text().count("other") >= 1
    alone = command("report", one, two, "--format", "csv")
    assert alone.returncode == 2
    assert alone.stderr == "error: Several result folders are merged into one report; say with --out DIR where it goes.\n"


@pytest.mark.slow
def test_pages_of_several_studies_are_the_same_whichever_process_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = machine(tmp_path / "a", ("dpo",), (0,))
    synthetic.study(root / "other-1", ("dpo",), failed=False)
    edited(root / "other-1", lambda record: record.update(task={"name": "other", "version": "1"}))
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # whoever runs the tests in parallel has a thread of its own
    forks, fork, made = [], os.fork, []
    monkeypatch.setattr(os, "fork", lambda: forks.append(len(made)) or fork())
    for cores in (1, 2):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        told = list(reporting.write([root], reporting.wanted("html,csv", "neurips", 1), tmp_path / f"{cores}", {}))
        assert [str(each).split()[0] for each in told] == ["Report:", "Report:", "Paper:"]
        made.append({path.relative_to(tmp_path / f"{cores}"): path.read_bytes() for path in (tmp_path / f"{cores}").rglob("*.*")})
    assert made[0] == made[1] and sum(path.name == "index.html" for path in made[0]) == 2
    assert forks and set(forks) == {1}


def test_labels_say_in_what_studies_of_one_task_differ(tmp_path: Path) -> None:
    for number, labels in enumerate(("bt", "flip")):
        machine(tmp_path / str(number), ("dpo",), (0,), study=f"key{number}")
        assumed = {"assumptions": {"labels": labels, "pairs": 9}, "study": f"key{number}"}
        edited(tmp_path / str(number) / "toy-1", lambda record, assumed=assumed: record.update(assumed))
        shutil.move(tmp_path / str(number) / "toy-1", tmp_path / "all" / f"toy-{number}")
    assert [label for label, _ in combining.combined([tmp_path / "all"]).studies] == ["toy-labels-bt", "toy-labels-flip"]


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="does not exist"):
        combining.combined([tmp_path / "nowhere"])
    with pytest.raises(HarnessError, match="No study at or directly below"):
        combining.combined([tmp_path])
