"""Files read while the rest of their archive is unpacked: what is whole is read once, and what cannot be read is left to whoever asks."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.store import ahead, archives
from harness.store.records import Cell, sample_rows

ROWS = b'{"prompt_id":0}\n{"prompt_id":1}\n'


@pytest.fixture(autouse=True)
def _nothing_read() -> Iterator[None]:
    yield
    ahead.forget()


def times(count: int) -> Iterator[bool]:
    """True so often, then False: that something runs for a while."""
    yield from [True] * count
    while True:
        yield False


def test_what_is_whole_is_read_once_and_gone_after_the_block(tmp_path: Path) -> None:
    files = {f"cells/{name}/{kind}": gzip.compress(ROWS) for name in "ab" for kind in ("samples.jsonl.gz", "temperatures.jsonl.gz")}
    (tmp_path / "all.tar.xz").write_bytes(archives.packed(files, "all.tar.xz"))
    read: list[Path] = []

    def reader(path: Path) -> str:
        read.append(path)
        return path.parent.name

    def start(do: archives.Do, progress: Path) -> archives.Do:
        do()
        runs = times(4)
        return lambda: ahead.follow(progress, lambda: next(runs), "samples.jsonl.gz", reader)

    with archives.unpacked([tmp_path / "all.tar.xz"], start) as [folder]:
        places = [folder / f"cells/{name}/samples.jsonl.gz" for name in "ab"]
        assert read == places
        assert [ahead.taken(place, reader) for place in places] == ["a", "b"] and read == places
        assert ahead.taken(places[0], reader) == "a" and read == [*places, places[0]]
        ahead._found[places[1]] = "kept"
    assert not ahead._found


def test_a_run_takes_the_rows_that_were_read_ahead(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(gzip.compress(ROWS))
    (tmp_path / "progress").write_text(f'"{path}"\n"{tmp_path}/to')
    runs = times(2)
    ahead.follow(tmp_path / "progress", lambda: next(runs), path.name, sample_rows)
    path.write_bytes(b"")  # what was read before is what counts
    assert [row["prompt_id"] for row in Cell(tmp_path, {}).samples()] == [0, 1]


def test_what_cannot_be_read_is_for_whoever_asks(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(gzip.compress(ROWS)[:-9])
    (tmp_path / "progress").write_text(f'"{path}"\n')
    runs = times(3)
    ahead.follow(tmp_path / "progress", lambda: next(runs), path.name, sample_rows)
    with pytest.raises(HarnessError, match="not a whole gzip file"):
        Cell(tmp_path, {}).samples()


def test_rows_in_several_pieces_of_gzip_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(gzip.compress(ROWS) + gzip.compress(b'{"prompt_id":2}\n'))
    assert [row["prompt_id"] for row in sample_rows(path)] == [0, 1, 2]
