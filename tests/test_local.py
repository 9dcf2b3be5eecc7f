"""The pool of processes: who runs beside whom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.execute.local import STEADY, Job, run_jobs

PATIENCE = 90  # seconds that one job waits for another, on a machine under load
ROOT = Path(__file__).parents[1]
HOURS = """
import os, sys, time
from pathlib import Path
from harness.execute import starting
from harness.execute.local import Job, run_jobs


def long(folder, report):
    try:
        (folder / "unfinished").write_text(str(os.getpid()))
        (folder / "unfinished").rename(folder / "worker")
        time.sleep(3600)
    finally:
        (folder / "cleaned").touch()


if __name__ == "__main__":
    if sys.argv[2] == "anew":
        starting.ACCELERATORS = ("/",)
    job = Job("long", long, (Path(sys.argv[1]),))
    said = {"heard": print, "done": print, "verbose": False}
    run_jobs([job, Job("later", long, job.arguments, ("long",))], workers=2, threads=1, **said)
"""


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


@contextmanager
def working(folder: Path, started: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A command whose worker is at work, another idle, and the worker's process; nothing of its session is left afterwards."""
    (folder / "hours.py").write_text(HOURS, encoding="utf-8")
    line = [sys.executable, str(folder / "hours.py"), str(folder), started]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        end = time.monotonic() + 5 * PATIENCE
        while not (folder / "worker").exists():
            assert command.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        yield command, int((folder / "worker").read_text())
    finally:
        for each in (place.name for place in Path("/proc").iterdir() if place.name.isdigit()):
            if session(int(each)) == command.pid:
                os.kill(int(each), signal.SIGKILL)
        command.communicate()


def session(process: int) -> int | None:
    """The session of a process that runs; None for one that is gone or only waits to be noticed."""
    try:
        state, _, _, found, *_ = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return None if state == "Z" else int(found)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
@pytest.mark.slow
@pytest.mark.parametrize("started", ["forked", "anew"])
def test_a_worker_ends_with_a_command_that_was_killed(tmp_path: Path, started: str) -> None:
    """Whoever started it: a worker is no child of the command where it was forked from a process that imports for all of them."""
    with working(tmp_path, started) as (command, worker):
        assert session(worker) == command.pid
        command.kill()
        end = time.monotonic() + PATIENCE
        while session(worker) is not None:
            assert time.monotonic() < end
            time.sleep(0.1)
    assert not (tmp_path / "cleaned").exists()


@linux
@pytest.mark.slow
@pytest.mark.parametrize("started", ["forked", "anew"])
def test_ctrl_c_lets_a_job_clean_up_and_workers_say_nothing_of_it(tmp_path: Path, started: str) -> None:
    with working(tmp_path, started) as (command, worker):
        os.killpg(command.pid, signal.SIGINT)
        _, said = command.communicate(timeout=5 * PATIENCE)
        assert session(worker) is None
    assert (tmp_path / "cleaned").exists()
    assert said.count("Traceback") == 1 + said.count("During handling")  # the command's own, which `harness` does not show
    assert "Process" not in said.replace("BrokenProcessPool", "").replace("ProcessPoolExecutor", "")
