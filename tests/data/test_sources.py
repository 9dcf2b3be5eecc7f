"""The loader on two 20-row files with the traps of real ones, and on every way in which a file can be wrong."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from harness.data.sources import Row, read_rows
from harness.errors import HarnessError

ROOT = Path(__file__).parents[2]
JUDGED, PAIRED = (ROOT / "tests" / "fixtures" / name for name in ("tldr_judged.csv", "tldr_pairs.jsonl"))
REAL = ROOT.parent / "shared" / "data" / "tldr" / "oai1b.csv_judged.csv"
DROPPED = {"empty response": 1, "identical responses": 1, "duplicate": 1}


def test_judged_summaries() -> None:
    source = read_rows(JUDGED)
    assert (source.layout, source.read, len(source.rows), source.dropped) == ("judged summaries", 20, 17, DROPPED)
    cats, jobs = source.rows[:2]
    assert cats.chosen == cats.reference == "Cat prefers my keyboard to her bed and writes to my boss."
    assert cats.rejected == "My cat sleeps on the keyboard every evening and I bought a bed which she does not use at all."
    assert jobs.rejected == jobs.reference == "Wanted a raise, got a fern."
    assert (
        'said "we value you"' in jobs.prompt
        and jobs.prompt.startswith("SUBREDDIT: r/jobs\n\nTITLE: ")
        and jobs.prompt.endswith("\n\nTL;DR:")
    )
    assert sum(row.chosen is None for row in source.rows) == 5, "a blank preference is an unjudged row, kept for its reference"
    assert max(len(row.prompt.split()) for row in source.rows) > 900, "an over-long row is the tokenizer's to drop"
    assert source.counts() == (
        "20 rows read (judged summaries), 17 kept, 12 of them judged, 1 dropped: duplicate, 1 dropped: empty response, "
        "1 dropped: identical responses"
    )


def test_chosen_and_rejected() -> None:
    source = read_rows(PAIRED)
    assert (source.layout, source.read, len(source.rows), source.dropped) == ("chosen and rejected", 20, 17, DROPPED)
    assert all(row.reference is None and row.chosen != row.rejected for row in source.rows)


@pytest.mark.parametrize("path", [JUDGED, PAIRED])
def test_no_text_brings_white_space_to_the_join(path: Path) -> None:
    raw = path.read_text(encoding="utf-8")
    assert ",  " in raw or '"  ' in raw, "the fixture must have the leading spaces that this test is about"
    for row in read_rows(path).rows:
        assert row.prompt == row.prompt.rstrip()
        assert all(text is None or (text and text == text.strip()) for text in (row.chosen, row.rejected, row.reference))


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.csv", "rows.json.gz", "rows.jsonl.gz", "rows.csv.gz"])
@pytest.mark.parametrize("origin", [JUDGED, PAIRED])
def test_every_format_gives_the_same_rows(origin: Path, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    text = _written(_records(origin), name.split(".")[1], tmp_path)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert read_rows(path).rows == read_rows(origin).rows


def test_a_limit_reads_the_first_rows() -> None:
    source = read_rows(JUDGED, limit=6)
    assert (source.read, len(source.rows)) == (6, 5)
    assert source.rows == read_rows(JUDGED).rows[:5]


def test_a_field_longer_than_csv_allows_by_default(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text(f"prompt,chosen,rejected\n{'word ' * 60_000},a,b\n", encoding="utf-8")
    before = csv.field_size_limit(5000)
    try:
        assert len(read_rows(path).rows[0].prompt) == 299_999
        assert csv.field_size_limit() == 5000, "the limit belongs to the whole process"
    finally:
        csv.field_size_limit(before)


def test_an_unknown_preference_is_counted_and_a_missing_value_is_blank(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"query": "q", "postprocessed_response": "a", "reference_responses": "b", "preferred": "oura"},
        {"query": "q", "postprocessed_response": "a", "reference_responses": "b", "preferred": None},
        {"query": " ", "postprocessed_response": "a", "reference_responses": "b", "preferred": "ours"},
        {"query": "q", "postprocessed_response": "a"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    source = read_rows(path)
    assert source.rows == (Row("q", reference="b"),)
    assert source.dropped == {"unknown preference": 1, "empty prompt": 1, "empty response": 1}


BAD = [
    ("rows.csv", b"", "holds no rows"),
    ("rows.csv", b"prompt,chosen,rejected\n", "holds no rows"),
    ("rows.jsonl", b"\n\n", "holds no rows"),
    ("rows.json", b"[]", "holds no rows"),
    (
        "rows.csv",
        b"prompt,chosen\na,b\n",
        r"has the columns \(chosen, prompt\); expected \(prompt, chosen, .*, of which it lacks rejected",
    ),
    ("rows.csv", b"why,because\na,b\n", r"has the columns \(because, why\); expected \(prompt, chosen, rejected\) or .*\(query, "),
    ("rows.json", b'["a", "b"]', r"has the columns \(\); expected"),
    ("rows.json", b'{"prompt": "a"}', r"expected"),
    ("rows.json", b"3", r"expected"),
    ("rows.jsonl", b'{"prompt": "a", "chosen": ["b"], "rejected": "c"}', "row 1 .* has a list under 'chosen'; expected a string"),
    ("rows.jsonl", b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n[1]', "row 2 .* is a list; expected an object"),
    (
        "rows.jsonl",
        b'{"prompt": "a", "chosen": "b", "rejected": "c"}\nnull',
        "row 2 .* is null; expected an object with prompt, ",
    ),
    ("rows.jsonl", b'{"prompt": "a"', "cannot be read as jsonl"),
    ("rows.csv", b"prompt,chosen,rejected\n\xff\xfe,a,b\n", "cannot be read as csv"),
    ("rows.csv.gz", b"not gzip", "cannot be read as csv"),
    ("rows.csv", "prompt,chosen,rejected\na,b,c\n".encode("utf-16"), "byte 0 is not UTF-8; where it is UTF-16, 'iconv -f UTF-16 -t UTF-8'"),
    ("rows.csv", "prompt,chosen,rejected\na,b,caf\u00e9\n".encode("latin-1"), "byte .* is not UTF-8; where it is LATIN1, 'iconv -f LATIN1"),
    ("rows.jsonl", b'{"a": 1}\n\n{"a": \n', "cannot be read as jsonl: line 3: "),
    ("rows.parquet", b"PAR1", "cannot be read as parquet"),
    ("rows.zip", b"PK", "cannot be read as zip"),
    ("rows.txt", b"words", r"unknown kind '\.txt'; legal: \.csv, \.json, \.jsonl, \.parquet"),
    ("rows.jsonl", b'{"prompt": "a", "completion": "b", "label": "maybe"}', "row 1 .* has 'maybe' under 'label'; expected true or false"),
    ("rows.jsonl", b'{"prompt": "a", "response": "b", "rating": "good"}', "row 1 .* has 'good' under 'rating'; expected a number"),
    ("rows.jsonl", b'{"prompt": "a", "responses": "b", "ratings": [1]}', "row 1 .* has a str under 'responses'; expected a list"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_a_bad_file_is_one_clear_error(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(HarnessError, match=message) as caught:
        read_rows(path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text("x", encoding="utf-8")
    with pytest.raises(HarnessError, match=r"post\.csv' does not exist\. Did you mean 'posts.csv'\?"):
        read_rows(tmp_path / "post.csv")
    with pytest.raises(HarnessError, match="does not exist"):
        read_rows(tmp_path / "nowhere" / "post.csv")


def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    text = PAIRED.read_text(encoding="utf-8")
    (tmp_path / "crlf.jsonl").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_rows(tmp_path / "crlf.jsonl").rows == read_rows(PAIRED).rows
    table = _written(_records(PAIRED), "csv", tmp_path)
    (tmp_path / "unix.csv").write_bytes(b"\xef\xbb\xbf" + table.replace("\r\n", "\n").encode())
    assert read_rows(tmp_path / "unix.csv").rows == read_rows(PAIRED).rows


@pytest.mark.skipif(not REAL.exists(), reason=f"the judged TL;DR file is not at {REAL.relative_to(ROOT.parent)}")
def test_the_real_file() -> None:
    source = read_rows(REAL)
    assert (source.read, len(source.rows), dict(source.dropped)) == (1200, 1200, {})
    assert [row.chosen is not None for row in source.rows] == [True] * 600 + [False] * 600
    ours = sum(row.rejected == row.reference for row in source.rows if row.chosen)
    assert ours == 392, "the labels prefer the model's text in 65 % of the judged rows"
    assert all(not text[:1].isspace() for row in source.rows for text in (row.chosen, row.rejected, row.reference) if text)


def _records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines)) if path.suffix == ".csv" else [json.loads(line) for line in lines]


def _written(records: list[dict[str, str]], kind: str, folder: Path) -> str:
    if kind == "json":
        return json.dumps(records)
    if kind == "jsonl":
        return "".join(json.dumps(record) + "\n" for record in records)
    scratch = folder / "scratch"
    with scratch.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return scratch.read_bytes().decode()
