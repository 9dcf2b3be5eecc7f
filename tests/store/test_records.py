"""Records on disk: what a reader sees of finished, torn, killed, foreign and superseded folders."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.store import files, lines, records
from harness.store.records import read, studies, write_json
from harness.store.standing import restate, supersede
from harness.store.writer import CellWriter

RECORD = {"kind": "cell", "status": "finished", "seed": 0}


def study(root: Path) -> Path:
    write_json(root / "experiment.json", {"study": "toy"})
    return root


def finished(folder: Path, *, kind: str = "cell") -> Path:
    with CellWriter(folder) as writer:
        writer.log({"step": 1, "loss": 0.5})
        writer.samples([{"prompt_id": 0, "response": "a"}])
        writer.note("done")
        writer.finish({**RECORD, "kind": kind}, {"total_wall": 1.0})
    return folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    finished(study(tmp_path) / "cells" / "one")
    finished(tmp_path / "references" / "seed0", kind="reference")
    found = read(tmp_path)
    assert found.experiment == {"study": "toy"}
    assert [cell.record["seed"] for cell in found.cells] == [0]
    assert found.cells[0].metrics() == [{"step": 1, "loss": 0.5}]
    assert found.cells[0].samples() == [{"prompt_id": 0, "response": "a"}]
    assert found.cells[0].times == {"total_wall": 1.0}
    assert found.references[0].record["schema"] == records.SCHEMA
    assert (tmp_path / "cells" / "one" / "log.txt").read_text() == "done\n"


def test_same_rows_same_bytes_and_readable_by_others(tmp_path: Path) -> None:
    first, second = finished(tmp_path / "a"), finished(tmp_path / "b")
    for name in ("record.json", "samples.jsonl.gz", "metrics.jsonl", "times.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
        assert stat.S_IMODE((first / name).stat().st_mode) & 0o444 == 0o444
    assert not list(first.glob(".*"))


def test_a_crash_between_samples_and_record_leaves_the_cell_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails when times.json is to be written, after the samples: no record, so the cell is run again."""
    original = files.write_bytes

    def failing(path: Path, content: bytes) -> None:
        if path.name == "times.json":
            raise OSError("disk full")
        original(path, content)

    monkeypatch.setattr(files, "write_bytes", failing)
    with pytest.raises(OSError, match="disk full"):
        finished(study(tmp_path) / "cells" / "one")
    assert (tmp_path / "cells" / "one" / "samples.jsonl.gz").exists()
    assert read(tmp_path).cells == ()
    assert read(tmp_path).unfinished == ("one",)


def test_redoing_a_finished_cell_makes_it_unfinished_at_once(tmp_path: Path) -> None:
    folder = finished(study(tmp_path) / "cells" / "one")
    with CellWriter(folder) as writer:
        writer.log({"step": 1})
    assert read(tmp_path).unfinished == ("one",)


def test_an_exception_leaves_its_traceback_in_the_log(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), CellWriter(tmp_path / "one"):
        _ = 1 / 0
    assert "ZeroDivisionError" in (tmp_path / "one" / "log.txt").read_text()


def test_a_torn_last_line_is_dropped_and_a_broken_inner_line_is_named(tmp_path: Path) -> None:
    folder = finished(study(tmp_path) / "cells" / "one")
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 2, "lo')
    assert read(tmp_path).cells[0].metrics() == [{"step": 1, "loss": 0.5}]
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write("\n")
    with pytest.raises(HarnessError, match="line 2"):
        read(tmp_path).cells[0].metrics()


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b'{"a":1},{"a":2}\n', 1),
        (b'{"a":[{}\n{}]}\n', 1),
        (b'{"a":[{}\n{}]},{"b":1}\n', 1),
        (b'{"a":1}\n{}[1]{}\n', 2),
        (b'{"a":1}\n\xff\n', 2),
        (b'{"a":1}\n[1]\n', 2),
        (b'{"a":1}\n\n', 2),
        (b'{"a":[1,\n2]}\n{},0,{}\n', 1),
    ],
)
def test_rows_read_together_are_as_strict_as_one_by_one(content: bytes, number: int) -> None:
    """Two rows on a line, and a row on two, are broken lines, however well they parse when joined."""
    with pytest.raises(HarnessError, match=f"metrics.jsonl, line {number} "):
        lines.rows(Path("one/metrics.jsonl"), content)


def test_no_line_no_row() -> None:
    assert lines.rows(Path("x"), b"") == lines.rows(Path("x"), b'{"torn"') == []
    assert lines.rows(Path("x"), b'{"a":1}\n {"b":null}\n{"c') == [{"a": 1}, {"b": None}]


def test_unknown_schema_and_broken_record_are_skipped_with_a_reason(tmp_path: Path) -> None:
    finished(study(tmp_path) / "cells" / "good")
    write_json(tmp_path / "cells" / "future" / "record.json", {"schema": 2, "kind": "cell"})
    (tmp_path / "cells" / "torn").mkdir()
    (tmp_path / "cells" / "torn" / "record.json").write_text('{"schema"')
    found = read(tmp_path)
    assert [cell.folder.name for cell in found.cells] == ["good"]
    assert any("future: schema 2" in reason for reason in found.skipped)
    assert any("torn/record.json" in reason for reason in found.skipped)


def test_superseded_records_stay_on_disk_and_out_of_sight(tmp_path: Path) -> None:
    finished(study(tmp_path) / "cells" / "superseded" / "older")
    marked = finished(tmp_path / "cells" / "marked")
    assert len(read(tmp_path).cells) == 1
    supersede(marked)
    found = read(tmp_path)
    assert (found.cells, found.skipped, found.unfinished) == ((), (), ())
    assert json.loads((marked / "record.json").read_text())["superseded"] is True


def test_what_is_superseded_for_a_reason_is_named_with_it_and_comes_back_byte_for_byte(tmp_path: Path) -> None:
    marked = finished(study(tmp_path) / "cells" / "marked")
    before = (marked / "record.json").read_bytes()
    supersede(marked, superseded="tuned otherwise since")
    found = read(tmp_path)
    assert (found.cells, found.skipped) == ((), ("marked: tuned otherwise since",))
    assert records.status(marked) == "superseded"
    supersede(marked, superseded=False)
    assert (marked / "record.json").read_bytes() == before
    supersede(tmp_path / "cells" / "nothing")
    assert not (tmp_path / "cells" / "nothing").exists()


def test_a_trial_is_restated_and_keeps_its_numbers(tmp_path: Path) -> None:
    trial = finished(study(tmp_path) / "trials" / "one", kind="trial")
    before = json.loads((trial / "record.json").read_text())
    restate(trial, {"index": 0, "grid": {"beta": 0.5}})
    assert json.loads((trial / "record.json").read_text()) == before | {"trial_of": {"index": 0, "grid": {"beta": 0.5}}}
    restate(tmp_path / "trials" / "nothing", {"index": 0})
    assert not (tmp_path / "trials" / "nothing").exists()


def test_numbers_become_json_and_not_a_number_becomes_null(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": np.float64(0.1), "b": float("nan"), "c": np.array([1, 2]), "d": float("inf"), 3: (True,)})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 0.1, "b": None, "c": [1, 2], "d": None, "3": [True]}
    with pytest.raises(HarnessError, match="Path"):
        write_json(tmp_path / "x.json", {"folder": tmp_path})
    assert json.loads((tmp_path / "x.json").read_text())["a"] == 0.1


def test_gzip_has_no_time_in_it() -> None:
    content = records.compressed("text\n")
    assert content[4:8] == b"\0\0\0\0"
    assert gzip.decompress(content) == b"text\n"


def test_studies_are_found_below_a_root_and_elsewhere_is_an_error(tmp_path: Path) -> None:
    study(tmp_path / "b")
    study(tmp_path / "a")
    (tmp_path / "c").mkdir()
    assert [path.name for path in studies(tmp_path)] == ["a", "b"]
    assert studies(tmp_path / "a") == [tmp_path / "a"]
    assert studies(tmp_path / "nowhere") == []
    with pytest.raises(HarnessError, match=r"experiment\.json"):
        read(tmp_path / "c")


def test_a_record_needs_a_known_kind_and_status(tmp_path: Path) -> None:
    with CellWriter(tmp_path / "one") as writer, pytest.raises(HarnessError, match="kind"):
        writer.finish({"kind": "run"}, {})


def test_a_folder_has_one_writer_at_a_time_and_the_second_harms_nothing(tmp_path: Path) -> None:
    with CellWriter(tmp_path / "cell") as first:
        first.log({"step": 1})
        first.note("first")
        with pytest.raises(HarnessError, match="cell is being run by another process"):
            CellWriter(tmp_path / "cell")
        first.finish({"kind": "cell", "status": "finished"}, {})
    assert records.status(tmp_path / "cell") == "finished"
    assert (tmp_path / "cell" / "metrics.jsonl").read_text().count("step") == 1
    assert (tmp_path / "cell" / "log.txt").read_text() == "first\n"
    CellWriter(tmp_path / "cell").__exit__(None, None, None)
    assert (tmp_path / "cell" / "log.txt").read_text() == ""


def test_the_search_for_cycles_comes_back_after_reading(tmp_path: Path) -> None:
    import gc

    from harness.report.points import load

    assert gc.isenabled()
    with pytest.raises(HarnessError):
        load(tmp_path)
    assert gc.isenabled()


def test_rows_keep_seven_digits_of_a_number_and_records_all(tmp_path: Path) -> None:
    third = 1 / 3
    with CellWriter(tmp_path) as writer:
        writer.samples([{"kl": third, "each": [third, 1.0], "far": -1234567.891, "n": 12345678901, "text": "1.23456789"}])
        writer.finish({"kind": "cell", "status": "finished", "kl": third}, {})
    [row] = lines.rows(tmp_path, gzip.decompress((tmp_path / records.SAMPLES).read_bytes()))
    assert row == {"kl": 0.3333333, "each": [0.3333333, 1.0], "far": -1234568.0, "n": 12345678901, "text": "1.23456789"}
    assert json.loads((tmp_path / records.RECORD).read_text())["kl"] == third


def test_a_row_is_the_same_line_whatever_it_is_made_of() -> None:
    """Written at once where JSON has a word for everything in it, made plain first where it has none."""
    row = {"b": np.float64(0.1), "a": np.arange(2), "c": (1, np.int64(2)), "d": np.float32(0.5), "e": {"y": {2, 1}, "x": np.bool_(True)}}
    assert files.line(row) == files.line(files.plain(row)) == '{"a":[0,1],"b":0.1,"c":[1,2],"d":0.5,"e":{"x":true,"y":[1,2]}}'
    assert files.line({"a": float("nan"), "b": [np.float64("inf")], 1: "é"}) == '{"1":"é","a":null,"b":[null]}'
