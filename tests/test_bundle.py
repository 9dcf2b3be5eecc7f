"""A bundle for a reviewer: the same bytes for the same records, nothing that says whose they are, and a refusal where something does."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import socket
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.sharing import bundle, traces, withheld
from harness.store import archives
from harness.store.records import write_json
from tests.conftest import Command
from tests.report import synthetic

PLACES = ("/home/jane.doe/lab/posts.jsonl", "~jane/lab/x.csv", r"C:\Users\Jane\posts.jsonl", "git@github.com:jane/secret.git")
PLACES += ("https://github.com/jane/secret", "jane.doe@lab.example.edu", "http://gpu-7.lab.internal:8000/v1")


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose machine this is does not decide the tests."""
    monkeypatch.setattr(traces, "own", lambda folder: ["janedoe", "gpu-seven"])


@pytest.fixture
def study(tmp_path: Path) -> Path:
    made = synthetic.study(tmp_path / "results" / "toy-1", ("dpo",), settings=1, failed=False)
    written = json.loads((made / "experiment.json").read_text())
    write_json(made / "experiment.json", written | {"source": PLACES[0], "notes": [f"from {each}, see arXiv" for each in PLACES]})
    cell = next(made.glob("cells/*/"))
    (cell / "log.txt").write_text("Traceback: /home/jane.doe/harness/running/cell.py")
    (cell / "policy").mkdir()
    (cell / "policy" / "model.safetensors").write_bytes(b"weights")
    return made


def unpacked(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as found:
        return {name: found.read(name) for name in found.namelist()}


def test_paths_remotes_and_addresses_are_taken_out_and_logs_stay_behind(study: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    found = unpacked(bundle.write(study.parent, tmp_path / "a.zip", anonymous=True))
    for name, content in found.items():
        text = (gzip.decompress(content) if name.endswith(".gz") else content).decode("utf-8", "replace")
        assert not any(trace in text for trace in ("jane", "Jane", "secret", "internal", "/home", "C:\\")), name
    experiment = json.loads(found["toy-1/experiment.json"])
    assert experiment["source"] == "<path>/posts.jsonl"
    assert experiment["notes"][0] == "from <path>/posts.jsonl, see arXiv"
    assert {"toy-1/report/index.html", "toy-1/report/table.csv", "toy-1/report/figures/frontier.pdf"} <= set(found)
    assert not any("log.txt" in name or "policy" in name for name in found)
    assert {path: path.read_bytes() for path in before} == before


def test_the_same_records_give_the_same_archive_in_every_kind(study: Path, tmp_path: Path) -> None:
    found = bundle.contents(study, anonymous=True)
    for name in ("a.zip", "a.tar.xz", "a.tar.gz"):
        made = archives.packed(dict(reversed(found.items())), name)
        assert made == archives.packed(found, name)
    with tarfile.open(fileobj=io.BytesIO(made)) as tape:
        members = tape.getmembers()
    assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}
    again = unpacked(bundle.write(study, tmp_path / "a.zip", anonymous=True))
    assert [member.name for member in members] == sorted(again)
    assert again == found
    assert bundle.contents(study, anonymous=True, reports=False) == {name: found[name] for name in found if "/report/" not in name}


def samples(study: Path, change: Any) -> Path:
    path = next(study.glob("cells/*/samples.jsonl.gz"))
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    change(rows)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


@pytest.mark.parametrize(("word", "hide"), [("janedoe", ()), ("gpu-seven", ()), ("Acme Labs", ("Acme Labs",))])
def test_a_name_that_is_left_is_refused_with_its_file(study: Path, tmp_path: Path, word: str, hide: tuple[str, ...]) -> None:
    """What a model said is never rewritten, so a name in it is a refusal."""
    samples(study, lambda rows: rows[0].update(response=f"written by {word}, yesterday"))
    with pytest.raises(HarnessError, match="Not anonymous, so nothing was packed") as refused:
        bundle.write(study, tmp_path / "a.zip", anonymous=True, hide=hide)
    assert f"toy-1/cells/dpo-beta=0.5-seed0-0a1b2c3d/samples.jsonl.gz holds '{word}'" in str(refused.value)
    assert not (tmp_path / "a.zip").exists()


def test_a_name_in_a_record_or_a_file_s_name_is_refused_too(study: Path, tmp_path: Path) -> None:
    cell = next(study.glob("cells/*/"))
    record = synthetic.read_record(cell)
    write_json(cell / "record.json", record | {"model": {**record["model"], "name": "janedoe-7b"}})
    with pytest.raises(HarnessError, match=r"record\.json holds 'janedoe'"):
        bundle.write(study, tmp_path / "a.zip", anonymous=True)
    write_json(cell / "record.json", record)
    cell.rename(cell.with_name("dpo-janedoe"))
    with pytest.raises(HarnessError, match=r"cells/dpo-janedoe/metrics\.jsonl holds 'janedoe'"):
        bundle.write(study, tmp_path / "a.zip", anonymous=True)


def test_part_of_a_word_is_no_name_and_sources_stay(tmp_path: Path) -> None:
    taken: set[str] = set()
    text = "arXiv:2305.18290, https://arxiv.org/abs/2305.18290, reward / rollout, n/(n+1), text/html, 1/2"
    assert traces.cleaned({"source": text, "n": 3}, taken) == {"source": text, "n": 3}
    assert taken == set()
    search = traces.Search(["jane"], ["/x/y"])
    assert list(search.in_text("janet said /x/y and jane_", said_by_models=False)) == ["jane", "/x/y"]
    assert list(search.in_text("see /home/me/x", said_by_models=True)) == []


def test_this_machine_s_own_names_are_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-7.lab.example")
    monkeypatch.setenv("LOGNAME", "janedoe")
    found = traces.own(tmp_path)
    assert {"gpu-7.lab.example", "gpu-7", "janedoe"} <= set(found)
    assert not {"root", "user", "home"} & set(found)


def test_the_command_refuses_an_unknown_kind_of_archive_in_one_line(study: Path, tmp_path: Path, command: Command) -> None:
    done = command("bundle", study, "--anonymous", "--out", tmp_path / "a.rar")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "an archive ends in .zip or .tar.gz or .tar.xz" in done.stderr


@pytest.mark.parametrize("suffix", archives.SUFFIXES)
def test_an_archive_gives_back_what_was_packed(study: Path, tmp_path: Path, suffix: str) -> None:
    packed = bundle.contents(study, anonymous=False, reports=False)
    archive = bundle.write(study, tmp_path / f"packed{suffix}", anonymous=False, reports=False)
    with archives.unpacked([archive]) as [folder]:
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert [*sorted(found)] == [*sorted(packed)] and any(name.endswith("samples.jsonl.gz") for name in found)
    for name, content in packed.items():  # an archive that is pressed as a whole holds its parts loose
        assert found[name] == content or gzip.decompress(found[name]) == gzip.decompress(content), name


def test_an_archive_is_reported_on_as_the_folder_is(study: Path, tmp_path: Path, command: Command) -> None:
    archive = bundle.write(study, tmp_path / "packed.tar.xz", anonymous=False, reports=False)
    for results, out in ((study, "folder"), (archive, "archive")):
        assert command("report", results, "--format", "latex,csv", "--out", tmp_path / out).returncode == 0
    written = (tmp_path / out for out in ("folder", "archive"))
    first, second = ({path.relative_to(place): path.read_bytes() for path in place.rglob("*.*")} for place in written)
    assert first == second and any(path.name == "macros.tex" for path in first)


def test_rows_of_many_runs_are_stored_once(tmp_path: Path) -> None:
    text = "".join(f"{hashlib.sha256(str(i).encode()).hexdigest()} prompt {i}\n" for i in range(4000)).encode()
    files = {f"cells/{run}/samples.jsonl.gz": gzip.compress(text + str(run).encode(), mtime=0) for run in range(8)}
    assert len(archives.packed(files, "a.tar.xz")) < len(archives.packed(files, "a.tar.gz")) / 6
    (tmp_path / "a.tar.xz").write_bytes(archives.packed(files, "a.tar.xz"))
    with archives.unpacked([tmp_path / "a.tar.xz"]) as [folder]:
        assert gzip.decompress((folder / "cells/3/samples.jsonl.gz").read_bytes()) == text + b"3"
    assert not folder.exists()


def test_an_archive_needs_a_place_and_what_is_none_is_refused_in_one_line(study: Path, tmp_path: Path, command: Command) -> None:
    archive = bundle.write(study, tmp_path / "a.tar.xz", anonymous=False, reports=False)
    done = command("report", archive)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "--out DIR" in done.stderr
    archive.write_bytes(archive.read_bytes()[:1000])
    done = command("report", archive, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "cannot be unpacked" in done.stderr
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tape:
        tape.add(archive, "../../evil.json")
    assert command("report", tmp_path / "evil.tar.gz", "--out", tmp_path / "out").returncode == 2
    assert not list(tmp_path.parent.glob("evil.json"))


def test_the_samples_of_trials_stay_behind_and_those_of_runs_do_not(study: Path) -> None:
    cell = next(study.glob("cells/*/"))
    shutil.copytree(cell, study / "trials" / cell.name)
    names = {name.partition("/")[2] for name in bundle.contents(study, anonymous=False, reports=False)}
    assert {f"cells/{cell.name}/samples.jsonl.gz", f"trials/{cell.name}/record.json"} <= names
    assert f"trials/{cell.name}/samples.jsonl.gz" not in names


def test_without_texts_nothing_that_was_said_is_packed_and_every_number_is(study: Path) -> None:
    """The report of such a bundle has the same numbers; equal texts stay equal, so that an alarm on constant output still rings."""
    whole, bare = (bundle.contents(study, anonymous=False, texts=texts) for texts in (True, False))
    name = next(each for each in whole if each.endswith("samples.jsonl.gz"))
    before, after = ([json.loads(row) for row in gzip.decompress(each[name]).splitlines()] for each in (whole, bare))
    said = {row[field] for row in before for field in withheld.TEXTS if field in row}
    assert said and not any(text in gzip.decompress(bare[name]).decode() for text in said)
    for old, new in zip(before, after, strict=True):
        assert {**new, **{field: old[field] for field in withheld.TEXTS if field in old}} == old
    assert len({row["prompt"] for row in after if "prompt" in row}) == len({row["prompt"] for row in before if "prompt" in row})
    table = next(each for each in whole if each.endswith("report/table.csv"))
    assert whole[table] == bare[table]
