"""The pool of processes: who runs beside whom."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from harness.execute.local import STEADY, Job, run_jobs

PATIENCE = 90  # seconds that one job waits for another, on a machine under load


def noted(folder: Path, name: str, report: Callable[..., None]) -> str:
    """Write down when this job began and ended, seconds."""
    begun = time.monotonic()
    time.sleep(0.3)
    (folder / name).write_text(f"{begun} {time.monotonic()}")
    return "finished"


def meeting(folder: Path, name: str, other: str, report: Callable[..., None]) -> str:
    """Whether another job began before this one had to end."""
    (folder / f"{name}.begun").touch()
    end = time.monotonic() + PATIENCE
    while not (folder / f"{other}.begun").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return "finished" if (folder / f"{other}.begun").exists() else "failed"


def told(folder: Path, report: Callable[..., None]) -> str:
    """What a worker's environment says of threads."""
    (folder / "told").write_text(" ".join(os.environ.get(name, "") for name in ("OMP_NUM_THREADS", *STEADY)))
    return "finished"


def run(jobs: list[Job]) -> list[tuple[str, str]]:
    ended: list[tuple[str, str]] = []
    run_jobs(jobs, workers=2, threads=1, verbose=False, heard=lambda *_: None, done=lambda *each: ended.append(each))
    return ended


def test_jobs_that_take_all_cores_run_alone_and_first_and_others_beside_each_other(tmp_path: Path) -> None:
    """Two jobs of two threads, and between them in the list two of one thread that wait for each other."""
    wide = [Job(f"wide{i}", noted, (tmp_path, f"wide{i}"), threads=2) for i in range(2)]
    narrow = [Job(f"narrow{i}", meeting, (tmp_path, f"narrow{i}", f"narrow{1 - i}"), after=("wide0",)) for i in range(2)]
    ended = run([wide[0], *narrow, wide[1]])
    (begun, done), (begun_second, _) = (tuple(map(float, (tmp_path / f"wide{i}").read_text().split())) for i in range(2))
    assert [name for name, _ in ended[:2]] == ["wide0", "wide1"]
    assert begun < done <= begun_second
    assert {status for _, status in ended} == {"finished"}


def test_a_worker_takes_the_threads_that_it_is_told_whatever_else_runs(tmp_path: Path) -> None:
    """Else two threads become one beside other work: 40 steps of SFT then gave other weights."""
    run([Job("told", told, (tmp_path,))])
    assert (tmp_path / "told").read_text() == "1 FALSE FALSE"
