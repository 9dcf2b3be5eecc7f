"""Whoever follows runs hears of every row, mark and end once, of nothing that lay there before, and takes no run with him when he fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.store import records
from harness.store.records import Row
from harness.store.writer import CellWriter
from harness.watching.following import Follower


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int]] = []
        self.marks: list[tuple[float, int]] = []
        self.ends: list[str] = []

    def row(self, cell: str, row: Row) -> None:
        self.rows.append((cell, row["step"]))

    def mark(self, cell: str, mark: Row) -> None:
        self.marks.append((mark["mark"], len(mark["samples"])))

    def end(self, cell: str, record: Row) -> None:
        self.ends.append(record["status"])


class Deaf(Heard):
    def row(self, cell: str, row: Row) -> None:
        raise OSError("disk is\nfull")


def mark(at: float) -> dict[str, Any]:
    return {"mark": at, "step": 1, "metrics": {}, "samples": [{"response": "so"}]}


def finished(writer: CellWriter, *marks: float, prompts: int = 1) -> None:
    for at in marks:
        parts = ("evaluation", "harmful") * prompts
        writer.samples([{"mark": at, "slice": part, "prompt_id": index // 2, "response": "so"} for index, part in enumerate(parts)])
    writer.finish({"kind": "cell", "status": "finished", "checkpoints": [mark(at) for at in marks]}, {})


def complain(text: str) -> None:
    raise AssertionError(text)


def test_rows_marks_and_the_end_are_told_once_and_as_they_are_written(tmp_path: Path) -> None:
    heard = Heard()
    follower = Follower({"dpo": tmp_path / "dpo"}, [heard], complain)
    follower.look()  # nothing is there yet
    with CellWriter(tmp_path / "dpo") as writer:
        writer.log({"step": 1})
        follower.look()
        assert heard.rows == [("dpo", 1)]
        writer.log({"step": 2})
        with (tmp_path / "dpo" / records.METRICS).open("a") as stream:
            stream.write('{"step"')  # a torn line waits for its end
            stream.flush()
            follower.look()
            stream.write(":3}\n")
        writer.mark(mark(0.5))
        follower.look()
        assert (heard.rows, heard.marks) == ([("dpo", 1), ("dpo", 2), ("dpo", 3)], [(0.5, 1)])
        finished(writer, 0.5, 1.0)
    follower.look()
    follower.look()
    assert (len(heard.rows), heard.marks, heard.ends) == (3, [(0.5, 1), (1.0, 1)], ["finished"])
    assert not (tmp_path / "dpo" / records.MARKS).exists()  # its record says the same


@pytest.mark.parametrize("ended", [True, False])
def test_what_an_earlier_run_left_is_not_told(tmp_path: Path, ended: bool) -> None:
    with CellWriter(tmp_path) as writer:
        writer.log({"step": 1})
        writer.mark(mark(0.25))
        if ended:
            finished(writer, 0.25)
    heard = Heard()
    follower = Follower({"dpo": tmp_path}, [heard], complain)
    follower.look()
    assert (heard.rows, heard.marks, heard.ends) == ([], [], [])
    with CellWriter(tmp_path) as writer:
        writer.log({"step": 7})
        finished(writer, 1.0)
    follower.look()
    assert (heard.rows, heard.marks, heard.ends) == ([("dpo", 7)], [(1.0, 1)], ["finished"])


def test_a_run_that_is_over_before_anybody_looked_is_told_whole(tmp_path: Path) -> None:
    heard = Heard()
    with Follower({"dpo": tmp_path}, [heard], complain), CellWriter(tmp_path) as writer:
        writer.log({"step": 1})
        finished(writer, 0.5, 1.0, prompts=5)
    assert (heard.rows, heard.marks, heard.ends) == ([("dpo", 1)], [(0.5, 3), (1.0, 3)], ["finished"])


def test_a_listener_that_fails_is_dropped_with_one_line_and_the_others_go_on(tmp_path: Path) -> None:
    heard, said = Heard(), list[str]()
    follower = Follower({"dpo": tmp_path}, [Deaf(), heard], said.append)
    with CellWriter(tmp_path) as writer:
        writer.log({"step": 1})
        writer.log({"step": 2})
        follower.look()
    assert said == [r"Deaf stopped listening, runs go on: OSError: disk is\nfull"]
    assert len(heard.rows) == 2


def test_marks_come_behind_the_rows_of_their_step_though_files_are_looked_at_later(tmp_path: Path) -> None:
    """A tracker takes steps in order and drops what comes late."""
    order: list[tuple[str, int]] = []

    class Ordered(Heard):
        def row(self, cell: str, row: Row) -> None:
            order.append(("row", row["step"]))

        def mark(self, cell: str, mark: Row) -> None:
            order.append(("mark", mark["step"]))

    follower = Follower({"dpo": tmp_path}, [Ordered()], complain)
    with CellWriter(tmp_path) as writer:
        for step in (1, 2, 3):
            writer.log({"step": step})
        writer.mark({**mark(0.5), "step": 2})
        follower.look()
    assert order == [("row", 1), ("row", 2), ("mark", 2), ("row", 3)]


def test_files_that_cannot_be_read_end_the_following_and_nothing_else(tmp_path: Path) -> None:
    heard, said = Heard(), list[str]()
    follower = Follower({"dpo": tmp_path / "dpo", "kto": tmp_path / "kto"}, [heard], said.append)
    for name in ("dpo", "kto"):
        (tmp_path / name).mkdir()
    (tmp_path / "dpo" / records.METRICS).write_text("no row\n")
    (tmp_path / "kto" / records.METRICS).write_text('{"step":1}\n')
    follower.look()
    with (tmp_path / "dpo" / records.METRICS).open("a") as stream:
        stream.write('{"step":1}\n')
    follower.look()
    assert len(said) == 1
    assert said[0].startswith("dpo cannot be followed: JSONDecodeError")
    assert heard.rows == [("kto", 1)]


def test_a_mark_that_both_files_hold_for_a_moment_is_told_once(tmp_path: Path) -> None:
    heard = Heard()
    follower = Follower({"dpo": tmp_path}, [heard], complain)
    with CellWriter(tmp_path) as writer:
        finished(writer, 0.5, 1.0)
        writer.mark(mark(0.5))
    follower.look()
    assert heard.marks == [(0.5, 1), (1.0, 1)]
