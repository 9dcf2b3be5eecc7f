"""Files and folders of every kind give the same rows; splits are found where the field names them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from harness.data import files
from harness.data.sources import read_rows
from harness.errors import HarnessError

ROWS = [{"prompt": f"p{i}", "chosen": "a", "rejected": "b"} for i in range(5)]


def lines(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def prompts(where: object) -> list[str]:
    return [row.prompt for row in read_rows(str(where)).rows]


def test_parquet_and_saved_datasets_give_the_rows_of_the_text(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list(ROWS)
    table.to_parquet(tmp_path / "rows.parquet")
    table.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": table, "test": table.select([1])}).save_to_disk(tmp_path / "two")
    expected = read_rows(lines(tmp_path / "rows.jsonl", ROWS)).rows
    for name in ("rows.parquet", "one", "two", "two#train"):
        assert read_rows(f"{tmp_path / name}").rows == expected, name
    assert prompts(f"{tmp_path / 'two'}#test") == ["p1"]
    with pytest.raises(HarnessError, match=r"has no split 'tets'; there are: test, train\. Did you mean 'test'\?"):
        read_rows(f"{tmp_path / 'two'}#tets")
    with pytest.raises(HarnessError, match="is one file, which has no split 'test'"):
        read_rows(f"{tmp_path / 'one'}#test")


def test_messages_survive_parquet(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    ask, so, no = ({"role": who, "content": text} for who, text in (("user", "Why?"), ("assistant", "So."), ("assistant", "No.")))
    datasets.Dataset.from_list([{"chosen": [ask, so], "rejected": [ask, no]}]).to_parquet(tmp_path / "rows.parquet")
    (row,) = read_rows(tmp_path / "rows.parquet").rows
    assert (row.prompt, row.chosen, row.rejected) == ("\n\nHuman: Why?\n\nAssistant:", "So.", "No.")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.jsonl", "train"),
        ("data/train-00000-of-00002.parquet", "train"),
        ("data/train_prefs-00000-of-00001.parquet", "train_prefs"),
        ("harmless-base/test.jsonl.gz", "test"),
        ("comparisons/validation/0000.parquet", "validation"),
        ("comparisons/summarize_from_feedback-train.parquet", "train"),
        ("test_data/rows.csv", "test_data"),
        ("retrain.csv", ""),
        ("posts.csv", ""),
        ("aclImdb/train", "train"),
    ],
)
def test_where_a_split_is_named(name: str, split: str) -> None:
    assert files.split_of(Path(name)) == split


def test_a_folder_of_split_files(tmp_path: Path) -> None:
    lines(tmp_path / "a" / "train.jsonl", ROWS[:2])
    lines(tmp_path / "b" / "train-00000-of-00001.jsonl", ROWS[2:4])
    lines(tmp_path / "b" / "test.jsonl", ROWS[4:])
    lines(tmp_path / ".cache" / "train.jsonl", ROWS)
    (tmp_path / "README.md").write_text("not data")
    (tmp_path / "dataset_infos.json").write_text("{}")
    assert prompts(tmp_path) == ["p0", "p1", "p2", "p3"], "train is what is read where nothing is asked for"
    assert prompts(f"{tmp_path}#test") == prompts(tmp_path / "b" / "test.jsonl") == ["p4"]
    with pytest.raises(HarnessError, match=r"has no split 'validation'; there are: test, train"):
        read_rows(f"{tmp_path}#validation")


def test_a_folder_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"has no data file; legal: \.csv"):
        read_rows(tmp_path)
    lines(tmp_path / "dev.jsonl", ROWS)
    assert prompts(tmp_path) == [f"p{i}" for i in range(5)], "the only split is the one that is meant"
    lines(tmp_path / "test.jsonl", ROWS)
    with pytest.raises(HarnessError, match=r"has several splits and none called train; there are: dev, test"):
        read_rows(tmp_path)


def test_a_folder_s_version_hangs_on_names_and_bytes(tmp_path: Path) -> None:
    for name, second in (("x", "b.jsonl"), ("y", "b.jsonl"), ("z", "c.jsonl")):
        lines(tmp_path / name / "a.jsonl", ROWS[:1])
        lines(tmp_path / name / second, ROWS[1:])
    one, same, other = (read_rows(tmp_path / name) for name in "xyz")
    assert one.sha256 == same.sha256 != other.sha256
    assert one.rows == other.rows


def test_json_lines_that_are_called_json(tmp_path: Path) -> None:
    lines(tmp_path / "rows.json", [*ROWS[:1], {"prompt": "a line\u2028separator", "chosen": "a", "rejected": "b"}])
    assert prompts(tmp_path / "rows.json") == ["p0", "a line\u2028separator"]


def test_texts_in_folders_of_classes_and_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "reviews.zip", "w") as archive:
        for name in ("pos/1.txt", "neg/2.txt"):
            text = f"this is the review that {name} has and it goes on and on"
            archive.writestr(f"reviews/{name}", text)
            (tmp_path / "train" / name).parent.mkdir(parents=True)
            (tmp_path / "train" / name).write_text(text)
        archive.writestr("reviews/README", "not a review")
    zipped, unpacked = read_rows(tmp_path / "reviews.zip"), read_rows(f"{tmp_path / 'train'}")
    assert set(zipped.rows) == set(unpacked.rows)
    assert len(zipped.rows) == 2
    assert zipped.layout == unpacked.layout == "labelled texts"
