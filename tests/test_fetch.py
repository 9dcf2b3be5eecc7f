"""Fetching from a hub on this machine through the hub's own client: lock file, refusals in one line, and a run that opens no socket."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.data import fetch
from harness.errors import HarnessError
from tests.conftest import ROOT, Command
from tests.hub_server import Hub, Repository, served
from tests.test_readme import model_folder

OLD, NEW, MODEL = "a" * 40, "b" * 40, "c" * 40
ROWS = [{"prompt": f"Post {i} on a cat.\n\nTL;DR:", "chosen": f"A cat, number {i}.", "rejected": f"A dog {i}."} for i in range(120)]


def lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    data = {"data/train.jsonl": lines(ROWS), "data/test.jsonl": lines(ROWS[:9]), "README.md": b"a card", "load.py": b"raise SystemExit"}
    model = {"config.json": b"{}", "model.safetensors": b"weights", "pytorch_model.bin": b"a pickle", "code.py": b"raise SystemExit"}
    repositories = {
        ("dataset", "owner/posts"): Repository(
            {"main": NEW, "refs/convert/parquet": OLD}, {NEW: data, OLD: {"train.jsonl": lines(ROWS[:50])}}
        ),
        ("dataset", "owner/closed"): Repository({"main": NEW}, {NEW: data}, gated=True),
        ("model", "owner/model"): Repository({"main": MODEL}, {MODEL: model}, licence="apache-2.0"),
    }
    import huggingface_hub.constants  # noqa: F401  # reads its environment once: this process stays offline

    with served(Hub(repositories)) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
        monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        yield found


SUITE = """title = "A suite of ours"
version = "1"
licence = "MIT"
source = "us"
halves = ["harmful", "benign"]
[[layout]]
prompt = "prompt"
label = "label"
harmful = ["unsafe"]
benign = ["safe"]
[[hub]]
id = "owner/suite"
split = "test"
"""


def asking(harmful: int, benign: int) -> bytes:
    rows = [f"How do I break {i} locks?,unsafe" for i in range(harmful)] + [f"How do I open {i} tins?,safe" for i in range(benign)]
    return "\n".join(["prompt,label", *rows, ""]).encode()


def experiment(folder: Path, **values: object) -> Path:
    path = folder / "experiment.toml"
    given = {"task": "tldr", "data": "owner/posts", "model": "owner/model", **values}
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items()))
    return path


def test_a_fetch_says_sizes_and_licences_and_locks_commits(hub: Hub, command: Command, tmp_path: Path) -> None:
    file = experiment(tmp_path)
    done = command("fetch", file, "--datasets", "owner/posts@refs/convert/parquet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    size = len(lines(ROWS))
    assert f"data set owner/posts at {NEW[:12]}: {size / 1000:.3g} kB in 1 files, licence: mit" in done.stdout
    assert f"model owner/model at {MODEL[:12]}: 9 bytes in 2 files, licence: apache-2.0" in done.stdout
    assert "HF_HUB_OFFLINE=1 harness compare" in done.stdout
    lock = json.loads((tmp_path / "experiment.lock.json").read_text())
    assert {key: entry["commit"] for key, entry in lock["entries"].items()} == {
        "dataset owner/posts@main": NEW,
        "dataset owner/posts@refs/convert/parquet": OLD,
        "model owner/model@main": MODEL,
    }
    weights = lock["entries"]["model owner/model@main"]["files"]["model.safetensors"]
    assert weights == {"bytes": 7, "hash": hashlib.sha256(b"weights").hexdigest()}
    cache = tmp_path / "home" / "hub"
    held = {path.name for path in cache.rglob("snapshots/*/**/*") if path.is_file()}
    assert held == {"train.jsonl", "config.json", "model.safetensors"}, "no code, no pickle, no split that nobody asked for"
    assert (cache / "models--owner--model" / "refs" / "main").read_text() == MODEL
    assert (cache / "datasets--owner--posts" / "refs" / "refs" / "convert" / "parquet").read_text() == OLD


def test_a_lock_file_holds_until_it_is_updated(hub: Hub, command: Command, tmp_path: Path) -> None:
    file = experiment(tmp_path, model="tiny-64")
    assert command("fetch", file, cwd=tmp_path).returncode == 0
    moved = hub.repositories["dataset", "owner/posts"]
    moved.commits["d" * 40] = {"train.jsonl": lines(ROWS[:3])}
    moved.refs["main"] = "d" * 40
    assert NEW[:12] in command("fetch", file, "--dry-run", cwd=tmp_path).stdout
    again = command("fetch", file, "--update", "--dry-run", cwd=tmp_path)
    assert "d" * 12 in again.stdout and not list((tmp_path / "home").rglob(f"snapshots/{'d' * 40}"))


@pytest.mark.parametrize(
    ("values", "phrases"),
    [
        ({"data": "owner/closed"}, ["'owner/closed' is gated: agree to its terms at", "/datasets/owner/closed", "HF_TOKEN"]),
        ({"data": "owner/nothing"}, ["there is no data set 'owner/nothing', neither here nor on the hub", "HF_TOKEN"]),
        ({"data": "owner/posts@mian"}, ["'owner/posts' has no revision 'mian'; a branch, a tag or a commit is wanted", "mean 'main'?"]),
        ({"data": "owner/posts#tets"}, ["has no split 'tets'; there are: test, train", "Did you mean 'test'?"]),
        ({"data": "owner/posts/raw"}, ["has no data file in raw; its folders are: data"]),
        ({"data": "owner/closed", "model": "owner/none"}, ["'owner/closed' is gated", "Also: there is no model 'owner/none'"]),
    ],
)
def test_what_cannot_be_had_is_one_line_and_leaves_nothing(
    values: dict[str, str], phrases: list[str], hub: Hub, command: Command, tmp_path: Path
) -> None:
    done = command("fetch", experiment(tmp_path, **{"model": "tiny-64", **values}), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    for phrase in phrases:
        assert phrase in done.stderr
    assert not (tmp_path / "experiment.lock.json").exists()


def test_a_hub_that_does_not_answer_is_one_line(hub: Hub, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = command("fetch", experiment(tmp_path, model="tiny-64"), cwd=tmp_path)
    assert done.returncode == 2
    assert "'owner/posts' at main cannot be had from http://127.0.0.1:9" in done.stderr and done.stderr.count("\n") == 1


NO_SOCKET = """
import socket
def refused(self, address):
    if self.family != socket.AF_UNIX:
        open({log!r}, "a").write(f"{{address}}\\n")
        raise OSError("a socket was opened")
socket.socket.connect = refused
socket.socket.connect_ex = refused
"""


def offline(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command in processes that may connect nowhere, and write down where they were asked to."""
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(NO_SOCKET.format(log=str(folder / "sockets.txt")))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    line = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800, check=False)


def test_what_was_fetched_is_read_without_a_socket(hub: Hub, command: Command, tmp_path: Path) -> None:
    """A dry run resolves, reads and prices the hub's rows on a node that may open no socket; the experiment names the commit."""
    model_folder(tmp_path / "model")
    file = experiment(tmp_path, model="./model")
    assert command("fetch", file, cwd=tmp_path).returncode == 0
    asked = len(hub.requests)
    done = offline(tmp_path, "compare", file, "--algorithms", "dpo", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f'source = "owner/posts@{NEW}"' in done.stdout
    other = offline(tmp_path, "compare", file, "--data", "owner/other", "--dry-run")
    assert "'owner/other' at main is not in the cache" in other.stderr and "hf download owner/other --repo-type dataset" in other.stderr
    assert not (tmp_path / "sockets.txt").exists() and len(hub.requests) == asked
    assert "a socket was opened" in offline_get(tmp_path) and (tmp_path / "sockets.txt").exists(), "the block itself must block"


GRID = {
    "algorithms": ["dpo"],
    "quick": True,
    "seeds": [0],
    "budget": "4steps",
    "marks": [],
    "sft_steps": 4,
    "batch_pairs": 4,
    "evaluation_prompts": 12,
    "mark_prompts": 4,
    "opponent_samples": 1,
    "temperatures": [0.0],
}


@pytest.mark.slow
def test_a_grid_on_a_mixture_runs_offline_and_gives_results_by_source(hub: Hub, command: Command, tmp_path: Path) -> None:
    """From fetch to page: rows of the hub and of a file, a pretrained folder, every process refusing to connect."""
    from harness.models.storage import save_model
    from harness.models.tiny import SPECIAL, tiny_model, tiny_tokenizer

    words = sorted({word for row in ROWS for text in row.values() for word in text.split()} | {"House,"})
    save_model(tmp_path / "model", tiny_model("tiny-64", (*SPECIAL, *words), 0), tiny_tokenizer((*SPECIAL, *words)))
    houses = [{**row, "prompt": row["prompt"].replace("cat.", "House,")} for row in ROWS]
    (tmp_path / "houses.jsonl").write_bytes(lines(houses))
    file = experiment(tmp_path, model="./model", data="owner/posts:.5,houses.jsonl:.5", **GRID)
    assert command("fetch", file, cwd=tmp_path).returncode == 0
    done = offline(tmp_path, "compare", file, "--results", "results", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "sockets.txt").exists()
    (cell,) = (tmp_path / "results").glob("*/cells/*")
    task = json.loads((cell / "record.json").read_text())["task"]
    assert task["source"] == f"owner/posts@{NEW}:0.5,houses.jsonl:0.5"
    rows = [json.loads(line) for line in gzip.decompress((cell / "samples.jsonl.gz").read_bytes()).splitlines()]
    assert {row["source"] for row in rows if row["slice"] == "evaluation"} == {"owner/posts#train", "houses.jsonl"}
    assert "By source of the data" in next((tmp_path / "results").glob("*/report/index.html")).read_text()


def test_a_safety_suite_is_fetched_by_name_and_read_at_its_commit(hub: Hub, command: Command, tmp_path: Path) -> None:
    """The rows that were fetched are asked on a node without a network, though the suite has other ones by now."""
    hub.repositories["dataset", "owner/suite"] = suite = Repository({"main": NEW}, {NEW: {"test.csv": asking(3, 2)}}, licence="cc-by-4.0")
    (tmp_path / "mine.toml").write_text(SUITE)
    file = experiment(tmp_path, data="embedded", model="tiny-64", safety_suites=["./mine.toml"])
    done = command("fetch", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"data set owner/suite at {NEW[:12]} (safety suite {tmp_path / 'mine.toml'}): " in done.stdout and "cc-by-4.0" in done.stdout
    assert "here, 5 prompts" in done.stdout
    assert json.loads((tmp_path / "experiment.lock.json").read_text())["entries"]["dataset owner/suite@main"]["commit"] == NEW
    suite.commits["d" * 40], suite.refs["main"] = {"test.csv": asking(7, 7)}, "d" * 40
    shown = offline(tmp_path, "compare", file, "--algorithms", "dpo", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "5 rows, asks 3 harmful, 2 benign" in shown.stdout
    assert not (tmp_path / "sockets.txt").exists()
    online = command("compare", file, "--algorithms", "dpo", "--dry-run", cwd=tmp_path)
    assert "5 rows, asks 3 harmful, 2 benign" in online.stdout, "the lock file's commit, not the newest"
    assert f"commit {NEW[:12]}" in online.stdout


def offline_get(folder: Path) -> str:
    code = "import urllib.request as r\ntry:\n    r.urlopen('http://127.0.0.1:9')\nexcept OSError as error:\n    print(error)"
    environment = {**os.environ, "PYTHONPATH": str(folder / "site")}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False).stdout


def test_what_an_experiment_names_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "here").mkdir(parents=True)
    found = fetch.wanted(
        {"data": "owner/posts@v1#test:.5,rows.jsonl:.5", "model": "owner/here", "judge": "owner/judge@v2#POSITIVE", "reference": "base"},
        models=["owner/judge@v2"],
        datasets=["Anthropic/hh-rlhf"],
    )
    hh = "09be8c5bbc57cb3887f3a9732ad6aa7ec602a1fa"
    folders = ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled")
    assert found == [
        fetch.Wanted("dataset", "owner/posts", "v1", "test"),
        fetch.Wanted("dataset", "Anthropic/hh-rlhf", hh, "train", folders),
        fetch.Wanted("model", "owner/judge", "v2"),
    ]


def test_an_experiment_that_names_nothing_of_the_hub_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(HarnessError, match="names nothing of the hub"):
        fetch.fetch(experiment(tmp_path, data="rows.jsonl", model="tiny-64"), print)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HarnessError, match="HF_HUB_OFFLINE is set, and fetching asks the hub"):
        fetch.fetch(experiment(tmp_path), print)
