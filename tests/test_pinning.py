"""What is read is pinned: revisions become commits once, from the lock file or the cache, and stay in the experiment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.commands import asked
from harness.data import pinning, places
from harness.errors import HarnessError

COMMIT, OTHER = "a" * 40, "b" * 40
ROWS = [{"prompt": f"Post {i} about a cat.\n\nTL;DR:", "chosen": f"cat {i}", "rejected": "dog"} for i in range(80)]


def lines(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as ``hf download`` leaves it, with one data set whose main is ``COMMIT``; the hub itself is out of reach."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    place = cache / "datasets--owner--name"
    lines(place / "snapshots" / COMMIT / "data" / "train.jsonl", ROWS)
    lines(place / "snapshots" / COMMIT / "data" / "test.jsonl", ROWS[:40])
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def test_a_branch_becomes_the_commit_that_the_cache_knows_it_by(hub: Path) -> None:
    assert pinning.pinned("owner/name") == f"owner/name@{COMMIT}"
    assert pinning.pinned("owner/name", split="test") == f"owner/name@{COMMIT}#test"
    assert pinning.pinned(f"owner/name@{OTHER}") == f"owner/name@{OTHER}", "a commit is itself"


def test_local_data_stay_as_they_were_typed(tmp_path: Path) -> None:
    for text in ("rows.jsonl", "./a/b.csv", str(tmp_path)):
        assert pinning.pinned(text) == text


def test_a_lock_file_wins_over_the_cache(hub: Path, tmp_path: Path) -> None:
    lock = tmp_path / "x.lock.json"
    entries = {pinning.key("dataset", "owner/name", ""): {"commit": OTHER}}
    lock.write_text(json.dumps({"version": pinning.VERSION, "entries": entries}))
    assert pinning.pinned("owner/name", lock=lock) == f"owner/name@{OTHER}"
    lock.write_text("{}")
    with pytest.raises(HarnessError, match=r"x\.lock\.json: is no lock file of version 1; 'harness fetch' writes one anew"):
        pinning.pinned("owner/name", lock=lock)


def test_an_experiment_records_the_commit_and_reads_that_split(hub: Path) -> None:
    flags = {"task": "tldr", "data": "owner/name", "model": "x", "algorithms": ["dpo"]}
    train, world = asked.resolve(flags, None)
    assert train.source == f"owner/name@{COMMIT}"
    assert world.pairs and "80 rows read" in " ".join(world.notes)
    test, tested = asked.resolve({**flags, "split": "test"}, None)
    assert test.source == f"owner/name@{COMMIT}#test"
    assert "40 rows read" in " ".join(tested.notes) and tested.version != world.version


def test_a_split_without_data_is_refused() -> None:
    with pytest.raises(HarnessError, match="--split and --revision say where in --data rows are, and no --data is given"):
        asked.resolve({"task": "tldr", "split": "test", "revision": "main"}, None)


def test_paths_in_an_experiment_file_are_beside_it_and_hub_ids_are_not(tmp_path: Path) -> None:
    lines(tmp_path / "data" / "rows.jsonl", ROWS)
    for text, expected in {
        "data/rows.jsonl": f"{tmp_path}/data/rows.jsonl",
        "data": "data",
        "./data": f"{tmp_path}/data",
        "owner/name@v1#test": "owner/name@v1#test",
        "data/rows.jsonl:.5,owner/name:.5": f"{tmp_path}/data/rows.jsonl:0.5,owner/name:0.5",
        "missing/rows.jsonl": f"{tmp_path}/missing/rows.jsonl",
    }.items():
        assert places.beside(tmp_path, text) in (expected, f"{tmp_path}/{expected}"), text
