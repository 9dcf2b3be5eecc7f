"""Samples against the reference, word by word: what is marked is what differs, and nothing is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from harness.report.examples import LONG, changes


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("the cat sat", "the cat sat", [("same", "the cat sat")]),
        ("the cat sat", "the dog sat", [("same", "the "), ("gone", "cat "), ("added", "dog "), ("same", "sat")]),
        ("sat", "the cat sat", [("added", "the cat "), ("same", "sat")]),
        ("the cat sat", "the", [("same", "the"), ("gone", "cat sat")]),
        ("", "a", [("added", "a")]),
        ("a", "", [("gone", "a")]),
        ("", "", []),
    ],
)
def test_changes_by_word(before: str, after: str, expected: list[tuple[str, str]]) -> None:
    assert changes(before, after) == expected


@given(st.text(" ab\n", max_size=30), st.text(" ab\n", max_size=30))
def test_nothing_of_either_text_is_lost(before: str, after: str) -> None:
    """What is not gone is the response to the letter; what is not added has the reference's words in order."""
    parts = changes(before, after)
    assert "".join(words for kind, words in parts if kind != "gone") == after
    assert " ".join(words for kind, words in parts if kind != "added").split() == before.split()


def test_very_long_texts_are_shown_and_not_compared() -> None:
    long = "word " * (LONG + 1)
    assert changes("other", long) == [("same", long)]


def test_the_page_marks_changes_by_more_than_colour(tmp_path: Path) -> None:
    text = synthetic.undrawn(synthetic.study(tmp_path, ("dpo",), settings=1, failed=False, text="<ins>mine</ins>"))
    shown = re.search(r'<div class="text" data-algorithm="dpo">.*?<p>(.*?)</p>', text, re.DOTALL)
    assert shown is not None
    assert shown[1] == "cat 64 <del>mat.</del><ins>sat. &lt;ins&gt;mine&lt;/ins&gt;</ins>"
    assert re.search(r"ins \{[^}]*underline", text) and re.search(r"del \{[^}]*line-through", text)
