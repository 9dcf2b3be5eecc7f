"""Recorded preferences as a task: one kind of data over all files, the subset that is asked for, what a source is called, what is chat."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.planning.labelled import refuse_mixed
from harness.types import NO_RESPONSE, Task
from tasks import hh, tldr


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def compared(n: int, first: int = 0, prompt: str = "\n\nHuman: question {}\n\nAssistant:") -> list[dict[str, Any]]:
    return [{"prompt": prompt.format(i), "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(first, first + n)]


def labelled(n: int, first: int = 0) -> list[dict[str, Any]]:
    """Responses to n prompts, a desirable one to two of three."""
    rows = range(first, first + n)
    return [{"prompt": f"\n\nHuman: question {i}\n\nAssistant:", "completion": f"said {i}", "label": i % 3 != 0} for i in rows]


def kinds(made: Task) -> list[set[bool]]:
    return [{pair.single for pair in rows or ()} for rows in (made.pairs, made.judge_pairs, made.tuning_pairs, made.heldout_pairs)]


def test_one_file_of_pairs_makes_references_of_labels_beside_it(tmp_path: Path) -> None:
    """Of 40 labelled prompts 27 have a desirable answer: references; the others are left out, with the filter that would keep them."""
    write(tmp_path / "hh" / "one" / "a.jsonl", compared(120))
    write(tmp_path / "hh" / "two" / "b.jsonl", labelled(40, first=500))
    made = hh.task(tmp_path / "hh")
    assert kinds(made) == [{False}] * 4
    assert any("two/b.jsonl: 40 rows read (unpaired), 27 kept" in note and "+unpaired keeps it" in note for note in made.notes)


def test_labels_and_pairs_in_one_folder_are_labels_where_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "hh" / "one" / "a.jsonl", compared(120))
    write(tmp_path / "hh" / "two" / "b.jsonl", labelled(40, first=500))
    made = hh.task(f"{tmp_path / 'hh'}+unpaired")
    assert kinds(made) == [{True}] * 4
    everything = [*(made.pairs or ()), *made.judge_pairs, *made.tuning_pairs]
    assert {"said 500", "good 3", "bad 3"} <= {response.text for pair in everything for response in (pair.chosen, pair.rejected)}
    assert any(note.startswith("split by the hash of the prompt: ") and "labelled responses for training" in note for note in made.notes)
    assert any("fitted on the judge's labelled responses" in note for note in made.notes)


def test_a_test_file_of_one_label_cannot_be_evaluated_on(tmp_path: Path) -> None:
    write(tmp_path / "hh" / "base" / "train.jsonl", labelled(120))
    write(tmp_path / "hh" / "base" / "test.jsonl", [row for row in labelled(40, first=500) if not row["label"]])
    with pytest.raises(HarnessError, match="none of the 13 labelled responses of the split 'evaluation' is desirable"):
        hh.task(tmp_path / "hh")


def test_lists_of_two_kinds_are_refused(tmp_path: Path) -> None:
    made = hh.task(write(tmp_path / "a.jsonl", compared(120)))
    refuse_mixed(made)
    alone = [replace(pair, rejected=NO_RESPONSE) for pair in made.heldout_pairs]
    with pytest.raises(HarnessError) as caught:
        refuse_mixed(replace(made, heldout_pairs=alone))
    assert str(caught.value) == (
        "task hh: its pairs compare two responses; its judge pairs compare two responses; its pairs of a tuning judge compare two "
        "responses; its held-out pairs label one; all of them must be of one kind."
    )
    with pytest.raises(HarnessError, match="its pairs do both"):
        refuse_mixed(replace(made, pairs=[*(made.pairs or ()), *alone]))


def test_a_subset_is_taken_beside_filters(tmp_path: Path) -> None:
    folder = tmp_path / "hh"
    for place, name in enumerate(("harmless-base", "helpful-base")):
        write(folder / name / "train.jsonl", compared(100, first=1000 * place))
    helpful = hh.task(f"{folder}+single-turn", subset="helpful")
    assert {row.prompt for row in helpful.evaluation} <= {row["prompt"] for row in compared(100, first=1000)}
    assert helpful.evaluation and not any("harmless-base" in note for note in helpful.notes)
    assert hh.task(f"{folder}+unpaired", subset="helpful").single


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("hh/harmless-base/train.jsonl", "'hh/harmless-base/train.jsonl' is in the folder 'harmless-base'"),
        ("hh/helpful-base:.5,hh/harmless-base:.5", "'hh/harmless-base' is in the folder 'harmless-base'"),
        ("hh#train", "'hh' is in the folder 'hh'"),
        ("Some/dialogues", "'Some/dialogues' names no folder"),
    ],
)
def test_a_subset_that_cannot_be_taken_is_refused(source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("harmless-base", "helpful-base"):
        write(tmp_path / "hh" / name / "train.jsonl", compared(100))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HarnessError) as caught:
        hh.task(source, subset="helpful")
    assert str(caught.value) == f"the subset 'helpful' takes folders whose names begin so, and {said}; name one in --data."


def test_a_file_in_a_folder_of_the_subset_is_taken(tmp_path: Path) -> None:
    assert hh.task(write(tmp_path / "helpful-base" / "train.jsonl", compared(100)), subset="helpful").pairs


def test_a_mixture_is_called_what_its_parts_are(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one.jsonl", compared(120)), write(tmp_path / "other.jsonl", compared(120, first=500))
    made = hh.task(f"{one}:.5,{other}:.5")
    assert made.source == "one.jsonl and other.jsonl"
    assert {pair.source for pair in made.evaluation} == {"one.jsonl", "other.jsonl"}
    assert hh.task(f"{one}+unpaired").source == "one.jsonl"
    assert hh.task(one.parent).source == tmp_path.name


@pytest.mark.parametrize(("dialogues", "chat"), [(0, False), (1, False), (40, False), (120, True), (200, True)])
def test_data_are_chat_from_a_share_of_dialogues_on(dialogues: int, chat: bool, tmp_path: Path) -> None:
    """Of 200 prompts; a single one that opens with a speaker's name does not make posts of the others a chat."""
    posts = compared(200 - dialogues, first=500, prompt="POST: my cat {}\n\nTL;DR:")
    made = tldr.task(write(tmp_path / "a.jsonl", [*compared(dialogues), *posts]))
    assert made.chat is chat
    said = [note for note in made.notes if "training prompts are dialogues" in note]
    assert bool(said) is (dialogues in (40, 120)) or dialogues == 1
    assert all(f"read as {'chat' if chat else 'plain text'} (--chat says otherwise)" in note for note in said)
