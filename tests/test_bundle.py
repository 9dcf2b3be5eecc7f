"""A bundle for a reviewer: the same bytes for the same records, nothing that says whose they are, and a refusal where something does."""

from __future__ import annotations

import gzip
import io
import json
import socket
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness import bundle, traces
from harness.errors import HarnessError
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
    (cell / "log.txt").write_text("Traceback: /home/jane.doe/harness/cell.py")
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


def test_the_same_records_give_the_same_archive_in_both_kinds(study: Path, tmp_path: Path) -> None:
    found = bundle.contents(study, anonymous=True)
    for name in ("a.zip", "a.tar.gz"):
        made = bundle.packed(dict(reversed(found.items())), name)
        assert made == bundle.packed(found, name)
    with tarfile.open(fileobj=io.BytesIO(made)) as tape:
        members = tape.getmembers()
    assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}
    again = unpacked(bundle.write(study, tmp_path / "a.zip", anonymous=True))
    assert [member.name for member in members] == sorted(again)
    assert again == found


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
    assert "an archive ends in .zip or .tar.gz" in done.stderr
