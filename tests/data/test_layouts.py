"""Every layout of the field on rows of our own, its conversion worked out by hand; and the adapters, which are layouts with a name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from harness.data import layouts, texts
from harness.data.adapters import ADAPTERS, Adapter, adapter_of
from harness.data.rows import Rated, Row
from harness.data.sources import Source, pairs, read_rows
from harness.errors import HarnessError

ASK = [{"role": "user", "content": "Why?"}]
WHY = "\n\nHuman: Why?\n\nAssistant:"


def said(content: str, *, who: str = "assistant") -> dict[str, str]:
    return {"role": who, "content": content}


def source(folder: Path, *records: Any) -> Source:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return read_rows(path)


TURNS = "\n\nHuman: Why?\n\nAssistant: Which?\n\nHuman: This.\n\nAssistant:"
ONE = {
    "strings": ({"prompt": "Why? ", "chosen": " So.", "rejected": "No."}, Row("Why?", "So.", "No.")),
    "annotated": (
        {"prompt": "Why?", "chosen": "So.", "rejected": "No.", "margin": "1.5", "agreement": 0.8},
        Row("Why?", "So.", "No.", margin=1.5, agreement=0.8),
    ),
    "answers as messages": ({"prompt": ASK, "chosen": [said("So.")], "rejected": [said("No.")]}, Row(WHY, "So.", "No.")),
    "whole conversations": ({"chosen": [*ASK, said("So.")], "rejected": [*ASK, said("No.")]}, Row(WHY, "So.", "No.")),
    "whole conversations beside the prompt": (
        {"prompt": "Why?", "chosen": [*ASK, said("So.")], "rejected": [*ASK, said("No.")], "score_chosen": 8, "score_rejected": 3.5},
        Row(WHY, "So.", "No.", margin=4.5),
    ),
    "an answer in several turns": (
        {
            "prompt": ASK,
            "chosen": [said("Which?"), said("This.", who="user"), said("So.")],
            "rejected": [said("Which?"), said("This.", who="user"), said("No.")],
        },
        Row(TURNS, "So.", "No."),
    ),
    "one message each": (
        {
            "conversations": [{"from": "human", "value": "Why?"}],
            "chosen": {"from": "gpt", "value": "So."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        Row(WHY, "So.", "No."),
    ),
    "with a system prompt": (
        {"chosen": [said("Be brief.", who="system"), *ASK, said("So.")], "rejected": [said("Be brief.", who="system"), *ASK, said("No.")]},
        Row(f"\n\nSystem: Be brief.{WHY}", "So.", "No."),
    ),
    "implicit transcript": ({"chosen": f"{TURNS} So.", "rejected": f"{TURNS} No."}, Row(TURNS, "So.", "No.")),
    "implicit common words": (
        {"chosen": "I saw it and it was good.", "rejected": "I saw it and it was gone."},
        Row("I saw it and it was", "good.", "gone."),
    ),
    "first preferred by votes": (
        {"history": "Why?", "human_ref_A": "So.", "human_ref_B": "No.", "labels": 1, "score_A": 9, "score_B": 2},
        Row(WHY, "So.", "No.", margin=7.0),
    ),
    "compared summaries": (
        {"info": {"post": "It is.", "title": "Why", "subreddit": "x"}, "summaries": [{"text": " No."}, {"text": " So."}], "choice": 1},
        Row("SUBREDDIT: r/x\n\nTITLE: Why\n\nPOST: It is.\n\nTL;DR:", "So.", "No."),
    ),
    "demonstration": ({"prompt": "Why?", "completion": " So."}, Row("Why?", reference="So.")),
    "desirable alone": ({"prompt": "Why?", "completion": "So.", "label": True}, Row("Why?", reference="So.")),
    "text": ({"source": ["It is.", "It was."], "target": "So."}, Row("It is. It was.\n\nTL;DR:", reference="So.")),
}


@pytest.mark.parametrize("name", ONE)
def test_a_record_becomes_the_row_that_it_means(name: str, tmp_path: Path) -> None:
    record, row = ONE[name]
    assert source(tmp_path, record).rows == (row,)


REASONS = {
    "other prompts": ({"chosen": f"{TURNS} So.", "rejected": f"{WHY} No."}, "chosen and rejected have different prompts"),
    "other messages": (
        {"chosen": [*ASK, said("So.")], "rejected": [said("Who?", who="user"), said("No.")]},
        "chosen and rejected have different",
    ),
    "nothing in common": ({"chosen": "So.", "rejected": "No."}, "no prompt before the response"),
    "answer without a question": ({"chosen": [said("So.")], "rejected": [said("No.")]}, "no prompt before the response"),
    "question at the end": ({"messages": ASK, "label": True}, "the last message is not the assistant's"),
    "an article": ({"info": {"post": None, "article": "x"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 0}, "not a post"),
    "a third choice": ({"info": {"post": "x"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 2}, "unknown preference"),
    "null response": ({"prompt": "Why?", "chosen": None, "rejected": "No."}, "empty response"),
    "ranked without ranks": ({"prompt": "Why?", "responses": ["a", "b"], "ranks": [1]}, "not as many numbers as responses"),
    "undesirable alone": ({"prompt": "Why?", "completion": "No.", "label": 0}, "undesirable, with nothing desirable"),
    "rated alike": ({"prompt": "Why?", "responses": ["a", "b"], "ratings": [3, 3.0]}, "rated alike"),
    "ranked alone": ({"prompt": "Why?", "ranking": ["a"]}, "the only response to its prompt that is rated or ranked"),
}


@pytest.mark.parametrize("column", ["ranks", "ratings"])
def test_a_number_that_is_none_names_its_own_column(column: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "p", "responses": ["a", "b"], column: [1, "best"]}) + "\n", encoding="utf-8")
    with pytest.raises(HarnessError, match=f"row 1 of the data file .* has 'best' under '{column}'; expected a number"):
        read_rows(path)


@pytest.mark.parametrize("name", REASONS)
def test_what_is_left_out_is_counted_with_its_reason(name: str, tmp_path: Path) -> None:
    record, reason = REASONS[name]
    found = source(tmp_path, record)
    assert found.rows == ()
    assert [key for key, n in found.dropped.items() if n] == [next(key for key in found.dropped if key.startswith(reason))]


def test_ratings_become_every_pair_that_differs_with_its_margin(tmp_path: Path) -> None:
    """Three responses rated 1, 5, 3 are three pairs; of 5, 1, 1 the two alike make none."""
    found = source(
        tmp_path,
        {"prompt": "p", "responses": ["a", "b", "c"], "ratings": [1, 5, 3]},
        {"prompt": "q", "responses": ["x", "y", "z"], "ratings": [5, 1, 1]},
    )
    assert [(row.chosen, row.rejected, row.margin) for row in found.rows] == [
        *[("b", "c", 2.0), ("b", "a", 4.0), ("c", "a", 2.0)],
        *[("x", "y", 4.0), ("x", "z", 4.0)],
    ]
    assert [pair.margin for pair in pairs(found.rows)] == [2.0, 4.0, 2.0, 4.0, 4.0]


@pytest.mark.parametrize(
    "records",
    [
        [{"prompt": "p", "response": each, "rating": value} for each, value in (("b", 2), ("a", 3), ("c", 1))],
        [{"prompt": "p", "completion": each, "score": value} for each, value in (("b", 2), ("a", 3), ("c", 1))],
        [{"prompt": "p", "ranking": ["a", "b", "c"]}],
        [{"prompt": "p", "ranking": [said("a"), said("b"), said("c")]}],
        [{"prompt": "p", "responses": ["c", "a", "b"], "ranks": [3, 1, 2]}],
        [{"prompt": "p", "completions": ["c", "a", "b"], "scores": [0.1, 0.3, 0.2]}],
    ],
)
def test_a_ranking_of_more_than_two_is_all_its_pairs(records: list[Any], tmp_path: Path) -> None:
    assert [(row.chosen, row.rejected) for row in source(tmp_path, *records).rows] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_completions_with_their_own_scores(tmp_path: Path) -> None:
    record = {"instruction": "Why?", "completions": [{"response": "No.", "overall_score": 2}, {"response": "So.", "overall_score": 4.5}]}
    assert source(tmp_path, record).rows == (Row(WHY, "So.", "No.", margin=2.5),)


def test_verdicts_meet_within_a_prompt_once_each(tmp_path: Path) -> None:
    records = [("p", "a", True), ("p", "b", "false"), ("p", "c", 1), ("q", "d", 0.0), ("r", "e", None)]
    found = source(tmp_path, *({"prompt": p, "completion": c, "label": label} for p, c, label in records))
    assert found.rows == (Row("p", "a", "b"), Row("p", reference="c"))
    assert {key[:11]: n for key, n in found.dropped.items() if n} == {"undesirable": 1, "neither a r": 1}


def test_a_threshold_turns_ratings_into_verdicts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "p", "responses": ["a", "b", "c"], "ratings": [4, 3, 5]}) + "\n", encoding="utf-8")
    assert read_rows(f"{path}+threshold=4").rows == (Row("p", "a", "b"), Row("p", reference="c"))
    assert [row.chosen for row in read_rows(path).rows] == ["c", "c", "a"]
    with pytest.raises(HarnessError, match=r"unknown filter 'threshhold=4'\. Did you mean 'threshold=N'"):
        read_rows(f"{path}+threshhold=4")


def test_data_that_is_filtered_is_other_data(tmp_path: Path) -> None:
    """A task's version is made of this hash, and keys of studies and cached stages of the version: filtered rows must not meet the rest."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "p", "responses": ["a", "b", "c"], "ratings": [4, 3, 5]}) + "\n", encoding="utf-8")
    hashes = [read_rows(f"{path}{filters}").sha256 for filters in ("", "+threshold=4", "+threshold=5", "+single-turn")]
    assert hashes[0] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len({*hashes}) == 4


def test_an_opening_is_two_to_eight_words_whatever_stands_beside_it() -> None:
    written = [f"text {i} " + "word " * 20 for i in range(200)]
    counts = {len(texts.opening(text)[0].split()) for text in written}
    assert counts == set(range(2, 9))
    assert all(" ".join(texts.opening(text)).split() == text.split() for text in written)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.repository)
def test_the_example_of_an_adapter_is_in_its_layout_and_gives_a_row(adapter: Adapter) -> None:
    assert layouts.of(adapter.example, "the example") == adapter.layout
    found = layouts.LAYOUTS[adapter.layout].convert(adapter.example)
    assert isinstance(found, Row | list) and found
    assert adapter.licence and adapter.revision and adapter.version >= 1
    assert adapter_of(adapter.repository.upper()) is adapter


def test_the_type_under_a_column_tells_layouts_of_the_same_columns_apart() -> None:
    assert layouts.of({"prompt": "a", "chosen": "b", "rejected": "c"}, "") == "chosen and rejected"
    assert layouts.of({"prompt": "a", "chosen": ASK, "rejected": ASK}, "") == "conversations"
    assert layouts.of({"chosen": "b", "rejected": "c"}, "") == "implicit prompt"
    with pytest.raises(HarnessError, match=r"has the columns \(chosen, conversations, rejected\)"):
        layouts.of({"conversations": ASK, "chosen": "b", "rejected": "c"}, "it")


def test_a_null_is_an_empty_response_and_says_nothing_of_the_layout(tmp_path: Path) -> None:
    """Nulls in the first row, in a later one, and inside a message."""
    ask, so, no = ASK, [said("So.")], [said("No.")]
    silent = [{"role": "assistant", "content": None}]
    nulls = [(None, no), (so, None), (silent, no)]
    records = [{"prompt": ask, "chosen": a, "rejected": b} for a, b in [nulls[0], (so, no), *nulls[1:]]]
    found = source(tmp_path, *records)
    assert (found.layout, found.rows, found.dropped) == ("conversations", (Row(WHY, "So.", "No."),), {"empty response": 3})


def test_real_rows_of_every_layout(real_data: Path) -> None:
    """Counts of the files as they are, each worked out once by reading them."""
    expected = {
        "hh/harmless-base/test.jsonl.gz": ("implicit prompt", 1387, 1382, 1382),
        "hh/harmless-base/test.jsonl.gz+single-turn": ("implicit prompt", 1387, 405, 405),
        "llamafactory/dpo_en_demo.json": ("conversations", 210, 208, 208),
        "llamafactory/kto_en_demo.json": ("unpaired messages", 210, 107, 1),
        "torchtune/hh_rlhf_tiny.json": ("conversations", 1, 1, 1),
        "imdb-sentiment/movie_reviews.zip": ("labelled texts", 1400, 1400, 0),
        "scitldr/SciTLDR-A/dev.jsonl": ("summaries of a text", 619, 1452, 0),
    }
    for name, (layout, read, kept, judged) in expected.items():
        found = read_rows(f"{real_data}/{name}")
        assert (found.layout, found.read, len(found.rows), sum(row.chosen is not None for row in found.rows)) == (
            layout,
            read,
            kept,
            judged,
        )


def test_rated_rows_keep_what_was_said() -> None:
    assert layouts.LAYOUTS["rating"].convert({"prompt": "p ", "response": " a", "rating": "2"}) == [Rated("p", "a", rating=2.0)]
