"""The stage cache: built once, whole or not at all, and by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.store.cache import cache_root, key_of, stage


def test_a_stage_is_built_once_and_found_again() -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "value.txt").write_text("1")

    first = stage("once", {"seed": 0}, build)
    assert stage("once", {"seed": 0}, build) == first
    assert len(built) == 1
    assert (first / "value.txt").read_text() == "1"
    assert stage("once", {"seed": 1}, build) != first


def test_a_stage_that_fails_leaves_nothing_behind() -> None:
    def build(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        stage("broken", {"seed": 0}, build)
    assert [p for p in (cache_root() / "broken").iterdir() if p.is_dir()] == []


def test_the_key_ignores_order_and_sees_every_value() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})


def test_two_processes_build_one_stage_once(tmp_path: Path) -> None:
    script = (
        "import sys, time; from harness.store.cache import stage\n"
        "def build(folder):\n"
        "    time.sleep(0.5); open(sys.argv[1], 'a').write('built ')\n"
        "stage('shared', {'x': 1}, build)\n"
    )
    log = tmp_path / "log"
    runs = [subprocess.Popen([sys.executable, "-c", script, str(log)]) for _ in range(3)]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert log.read_text() == "built "
