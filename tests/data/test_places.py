"""What ``--data`` says is read as it is meant and written as it is read; mixtures keep shares, and each row its source."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.places import Place, above, parse, written
from harness.data.sources import by_split, read_rows
from harness.errors import HarnessError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("posts.jsonl", [Place("posts.jsonl")]),
        ("owner/name", [Place("owner/name")]),
        ("owner/name/folder@v1.0#test", [Place("owner/name/folder", "v1.0", "test")]),
        ("owner/name@refs/convert/parquet", [Place("owner/name", "refs/convert/parquet")]),
        ("owner/name+single-turn", [Place("owner/name", filters=("single-turn",))]),
        ("a.jsonl:.7, owner/name#dev:0.3", [Place("a.jsonl", share=0.7), Place("owner/name", split="dev", share=0.3)]),
        ("a.jsonl,b.jsonl", [Place("a.jsonl"), Place("b.jsonl")]),
    ],
)
def test_what_a_text_names(text: str, places: list[Place]) -> None:
    assert list(parse(text)) == places
    assert parse(written(places)) == tuple(places)


def test_a_file_that_exists_is_meant_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.jsonl", "c#d+single-turn:.5"):
        Path(name).write_text("")
        assert parse(name) == (Place(name),)
    Path("me@home").mkdir()
    assert parse("me@home#test:1") == (Place("me@home", split="test", share=1.0),)


def test_flags_complete_what_names_no_revision_or_split() -> None:
    first, second = parse("owner/name@v1,owner/other#dev", split="test", revision="v2")
    assert (first, second) == (Place("owner/name", "v1", "test"), Place("owner/other", "v2", "dev"))
    (local,) = parse("rows.jsonl", revision="v2")
    assert local == Place("rows.jsonl"), "what is not on the hub has no revision"


def test_what_is_on_the_hub_and_what_is_pinned() -> None:
    assert [Place(text).on_hub for text in ("owner/name", "owner/rows.csv", "./owner/name", "name", "/a/b")] == [True] + [False] * 4
    assert (Place("o/n/x/y").repository, Place("o/n/x/y").folder) == ("o/n", "x/y")
    assert Place("o/n", COMMIT).pinned and not Place("o/n", "main").pinned


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jsonl:.7,b.jsonl:.2", "add up to 0.9, not to 1"),
        ("a.jsonl:.7,b.jsonl", "every part of a mixture needs a share"),
        ("a.jsonl:0,b.jsonl:1", "the share 0 is not above 0"),
        ("a.jsonl,a.jsonl", "one part is named twice"),
        (",", "names nothing"),
        ("owner/name+single-turns", "unknown filter 'single-turns'. Did you mean 'single-turn'"),
        ("rows.jsonl@v1", "'rows.jsonl' is no id on the hub, so it has no revision"),
    ],
)
def test_what_makes_no_sense_is_one_line(text: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        parse(text)


def rows(folder: Path, name: str, n: int, *, first: int = 0) -> str:
    lines = [json.dumps({"prompt": f"prompt {i}", "chosen": "a", "rejected": "b"}) for i in range(first, first + n)]
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return str(folder / name)


@given(share=st.integers(1, 9), sizes=st.tuples(st.integers(20, 60), st.integers(20, 60)))
def test_a_mixture_has_its_shares_and_repeats_nothing(share: int, sizes: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mixture")
    one, two = rows(folder, "one.jsonl", sizes[0]), rows(folder, "two.jsonl", sizes[1], first=100)
    found = read_rows(f"{one}:.{share},{two}:.{10 - share}")
    counts = Counter(row.source for row in found.rows)
    total = min(sizes[0] * 10 / share, sizes[1] * 10 / (10 - share))
    assert counts["one.jsonl"] == pytest.approx(total * share / 10, abs=1)
    assert counts["two.jsonl"] == pytest.approx(total * (10 - share) / 10, abs=1)
    assert len({row.prompt for row in found.rows}) == len(found.rows)
    assert [part.kept for part in found.parts] == [counts["one.jsonl"], counts["two.jsonl"]]
    assert all(part.read == part.kept + sum(part.dropped.values()) for part in found.parts)


def test_a_mixture_without_shares_is_all_of_it_but_for_what_is_there_already(tmp_path: Path) -> None:
    one, two = rows(tmp_path, "one.jsonl", 6), rows(tmp_path, "two.jsonl", 6, first=4)
    found = read_rows(f"{one},{two}")
    assert Counter(row.source for row in found.rows) == {"one.jsonl": 6, "two.jsonl": 4}
    assert found.dropped["duplicate of a row in another part"] == 2
    assert found.counts().startswith("one.jsonl: 6 rows read (chosen and rejected), 6 kept, 6 of them judged; two.jsonl: 6 rows read")
    alone = read_rows(one)
    assert all(row.source == "" for row in alone.rows)
    assert {replace(row, source="") for row in found.rows if row.source == "one.jsonl"} == set(alone.rows)


def test_what_a_mixture_leaves_out_has_nothing_to_do_with_splits(tmp_path: Path) -> None:
    one, two = rows(tmp_path, "one.jsonl", 400), rows(tmp_path, "two.jsonl", 100, first=1000)
    whole, mixed = (by_split(read_rows(text).rows) for text in (one, f"{one}:.5,{two}:.5"))
    shares = {name: sum(row.source == "one.jsonl" for row in part) / len(whole[name]) for name, part in mixed.items() if whole[name]}
    assert all(0.1 < share < 0.45 for share in shares.values()), shares


def test_files_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    one, two = rows(tmp_path / "a", "rows.jsonl", 3), rows(tmp_path / "b", "rows.jsonl", 3, first=9)
    assert {row.source for row in read_rows(f"{one},{two}").rows} == {one, two}
    assert read_rows(f"{one}:.5,{two}:.5").sha256 != read_rows(f"{one},{two}").sha256


def test_data_are_found_above_a_study_that_is_read_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here first, then the nearest folder above that has all parts; ids on the hub and absolute paths stay what they are."""
    study = tmp_path / "project" / "results" / "runs" / "tldr-1"
    study.mkdir(parents=True)
    other = tmp_path / "other"
    other.mkdir()
    project = tmp_path / "project"
    for name in ("a.jsonl", "b.jsonl", "results/b.jsonl"):
        (project / name).write_text("{}")
    monkeypatch.chdir(other)
    assert above(study, "a.jsonl") == str(project / "a.jsonl")
    assert above(study, "b.jsonl#test+single-turn") == f"{project / 'results' / 'b.jsonl'}#test+single-turn"
    assert above(study, "a.jsonl:0.7,b.jsonl:0.3") == f"{project / 'a.jsonl'}:0.7,{project / 'b.jsonl'}:0.3"
    assert above(study, "no-such.jsonl") is None and above(study, "a.jsonl,no-such.jsonl") is None
    assert above(study, str(project / "a.jsonl")) == str(project / "a.jsonl")
    assert above(study, f"owner/name@{COMMIT}") == f"owner/name@{COMMIT}"
    assert above(study, "owner/name") == "owner/name"
    (other / "a.jsonl").write_text("{}")
    assert above(study, "a.jsonl") == "a.jsonl"
