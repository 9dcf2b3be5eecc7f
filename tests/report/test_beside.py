"""Work beside other work: everything is done once, whichever process does it, and an error is the first process's to raise."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from harness.report.beside import Beside


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests in parallel has a thread of its own in this process."""
    threads = threading.active_count()
    count = threading.active_count
    monkeypatch.setattr(threading, "active_count", lambda: count() - threads + 1)


def noting(path: Path) -> None:
    """Append the process that does it."""
    with path.open("a") as stream:
        stream.write(f"{os.getpid()}\n")


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_everything_is_done_once_and_never_by_more_processes_than_there_are_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    warmed: list[int] = []
    beside = Beside(lambda: warmed.append(os.getpid()))
    texts = [beside.begin(lambda path=tmp_path / f"{i}": noting(path), tmp_path / f"{i}") for i in range(12)]
    assert len(beside._running) < cores
    found = [text().split() for text in reversed(texts)]
    assert [len(each) for each in found] == [1] * 12
    assert warmed == [os.getpid()] * (cores > 1)
    assert ({os.getpid()} == {int(process) for each in found for process in each}) is (cores == 1)


def test_what_fails_in_another_process_is_done_again_in_this_one_which_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    def broken() -> None:
        noting(tmp_path / "tried")
        raise ValueError("no such colour")

    beside = Beside(lambda: None)
    text = beside.begin(broken, tmp_path / "never")
    with pytest.raises(ValueError, match="no such colour"):
        text()
    here, there = sorted((tmp_path / "tried").read_text().split(), key=lambda process: int(process) != os.getpid())
    assert int(here) == os.getpid() != int(there)


def test_a_process_beside_another_keeps_to_its_share_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two cores one: what it begins in its turn it does itself. Of eight half, then a third."""
    for cores, shares in ((2, [1]), (8, [4, 2])):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        beside, inner = Beside(lambda: None), tmp_path / f"inner{cores}"
        places = [tmp_path / f"share{cores}-{number}" for number in range(len(shares))]

        def nested(place: Path, inner: Path = inner) -> None:
            own = Beside(lambda: None)
            text = own.begin(lambda: noting(inner), inner)
            place.write_text(str(own._others + 1))
            text()

        waits = [beside.begin(lambda place=place: nested(place), place) for place in places]
        assert [int(text()) for text in waits] == shares


def test_half_of_what_waits_goes_to_a_core_that_becomes_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    beside, end = Beside(lambda: None), tmp_path / "end"
    os.mkfifo(end)

    def slowly(path: Path) -> None:
        time.sleep(0.2)
        noting(path)

    page = beside.begin(lambda: noting(Path(end.read_text())), tmp_path / "page")  # until it is told where
    texts = [beside.begin(lambda path=tmp_path / f"{i}": slowly(path), tmp_path / f"{i}") for i in range(6)]
    assert len(beside._waiting) == 6
    end.write_text(str(tmp_path / "page"))
    while beside.busy():
        time.sleep(0.01)
    assert page() != f"{os.getpid()}\n" and len(beside._waiting) == 3
    found = [int(text()) for text in texts]
    assert 1 <= found.count(os.getpid()) <= 3 and len({*found}) > 1


def test_nothing_is_forked_beside_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that it holds would be held forever in the new process."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()
    try:
        beside = Beside(lambda: None)
        text = beside.begin(lambda: noting(tmp_path / "one"), tmp_path / "one")
        assert not beside._running
        assert text() == f"{os.getpid()}\n"
    finally:
        end.set()
        other.join()
