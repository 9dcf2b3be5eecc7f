"""Responses that were labelled one by one: what files of them become, when they stay single, and what is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.data.rows import Row
from harness.data.sources import Source, by_split, demonstrations, pairs, read_rows
from harness.doctor.doctor import examine
from harness.errors import HarnessError
from harness.types import NO_RESPONSE, Pair, Response
from tasks.tldr import task


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def said(prompt: str, completion: str, label: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion, "label": label}


def kept(source: Source) -> dict[str, int]:
    return {reason: n for reason, n in source.dropped.items() if n}


@pytest.mark.parametrize(("yes", "no"), [(True, False), (1, 0), (1, -1), ("true", "False"), ("1", "-1"), (1.0, 0.0), ("yes", "no")])
def test_a_label_of_either_kind_keeps_its_response(yes: Any, no: Any, tmp_path: Path) -> None:
    found = read_rows(write(tmp_path / "a.jsonl", [said("p", "good", yes), said("q", "bad", no), said("q", "worse", no)]))
    assert found.rows == (Row("p", chosen="good"), Row("q", rejected="bad"), Row("q", rejected="worse"))
    assert kept(found) == {}
    assert found.counts() == "3 rows read (unpaired), 3 kept, 3 of them judged one by one, each counted where pairs are"
    assert pairs(found.rows) == [
        Pair("p", Response("good"), NO_RESPONSE),
        *(Pair("q", NO_RESPONSE, Response(text)) for text in ("bad", "worse")),
    ]
    assert [row.prompt for row in demonstrations(found.rows)] == ["p"]  # nothing to fine-tune on answers q


TWO = [said("p", "good", True), said("p", "bad", False), said("q", "alone", False)]


def test_what_can_be_compared_is_compared_unless_it_is_asked_for_alone(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", TWO)
    assert read_rows(file).rows == (Row("p", "good", "bad"),)
    alone = read_rows(f"{file}+unpaired")
    assert alone.rows == (Row("p", "good"), Row("p", rejected="bad"), Row("q", rejected="alone"))
    assert alone.sha256 != read_rows(file).sha256


def test_pairs_asked_for_alone_are_both_of_their_responses_once(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "p", "chosen": "a", "rejected": "c"}]
    found = read_rows(f"{write(tmp_path / 'a.jsonl', rows)}+unpaired")
    assert found.rows == (Row("p", "a"), Row("p", rejected="b"), Row("p", rejected="c"))


def test_a_threshold_says_which_ratings_are_desirable(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n}", "completion": f"a{n}", "score": n} for n in (2, 4, 5)]
    file = write(tmp_path / "a.jsonl", rows)
    assert read_rows(f"{file}+threshold=4").rows == (Row("p2", rejected="a2"), Row("p4", "a4"), Row("p5", "a5"))
    with pytest.raises(HarnessError, match=r"responses are rated; say from which rating one is desirable, such as \+threshold=4\.$"):
        read_rows(f"{file}+unpaired")


def test_one_kind_of_data_in_a_mixture(tmp_path: Path) -> None:
    """Beside pairs labels alone are what they were: references; with the filter on any part, all of it are labels."""
    one = write(tmp_path / "pairs.jsonl", [{"prompt": "x", "chosen": "a", "rejected": "b"}])
    other = write(tmp_path / "labels.jsonl", TWO[1:])
    assert {row.single for row in read_rows(f"{one},{other}").rows} == {False}
    alone = read_rows(f"{one},{other}+unpaired").rows
    assert [(row.prompt, row.single, row.source) for row in alone] == [
        *[("x", True, "pairs.jsonl")] * 2,
        *((prompt, True, "labels.jsonl") for prompt in "pq"),
    ]


def of(n: int, label: Mapping[bool, Any] | None = None) -> list[dict[str, Any]]:
    return [said(f"post {i}", f"answer {i}", (label or {True: 1, False: 0})[i % 2 == 0]) for i in range(n)]


def test_a_task_of_labels_alone(tmp_path: Path) -> None:
    found = task(write(tmp_path / "a.jsonl", of(200)))
    assert found.single
    assert found.pairs
    assert all(pair.single for part in (found.pairs, found.judge_pairs, found.tuning_pairs, found.heldout_pairs) for pair in part)
    assert found.defaults.pairs == len(found.pairs) == found.brought_pairs
    assert {row.prompt for row in found.evaluation} < {pair.prompt for pair in found.heldout_pairs}


@pytest.mark.parametrize(
    ("rows", "ending", "words"),
    [
        (
            of(60, {True: 1, False: 1}),
            "",
            "every label desirable\\).*; labels of single responses are needed of both kinds, and every one of these is desirable$",
        ),
        (
            of(60, {True: 1, False: 1}),
            "+unpaired",
            "none of 60 labelled responses is undesirable; responses that were labelled one by one need both labels",
        ),
        (
            of(60, {True: 0, False: 0}),
            "+unpaired",
            "none of 60 labelled responses is desirable; responses that were labelled one by one need both labels",
        ),
        (of(8), "", "too few labelled responses: none of the \\d labelled responses of the split '\\w+' is (un)?desirable"),
        (TWO, "", "with nothing desirable to the same prompt .*; responses are labelled one by one here, and \\+unpaired .* keeps each"),
    ],
)
def test_labels_that_nothing_can_be_learnt_from_are_one_line(rows: list[dict[str, Any]], ending: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=words) as caught:
        task(f"{write(tmp_path / 'a.jsonl', rows)}{ending}")
    assert "\n" not in str(caught.value)


def test_splits_of_labels_alone_are_disjoint_by_prompt(tmp_path: Path) -> None:
    rows = [row for i in range(200) for row in (said(f"p{i}", f"a {i}", i % 2), said(f"p{i}", f"b {i}", i % 2))]
    parts = by_split(read_rows(write(tmp_path / "a.jsonl", rows)).rows)
    owners = [{row.prompt for row in part} for part in parts.values()]
    assert sum(map(len, owners)) == len(set().union(*owners)) == 200


def test_the_doctor_counts_labels(tmp_path: Path) -> None:
    rows = [*TWO, said("p", "good", False)]
    lines = list(examine(f"{write(tmp_path / 'a.jsonl', rows)}+unpaired"))
    assert "  labelled responses that are desirable: 1 of 4 (25.0 %); both labels are dealt in turn, however many there are" in lines
    assert "  labelled responses with both labels: 1 of 3 (33.3 %); they contradict" in lines
    assert "  prompts without a desirable response: 1 of 2 (50.0 %); never evaluated on" in lines
    assert "  a.jsonl: 4 rows read (unpaired), 4 rows made of them, 4 of them labels alone" in lines
    assert not any("DPO" in line for line in lines)  # it cannot run
