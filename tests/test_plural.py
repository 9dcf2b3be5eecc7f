"""Counts and their nouns."""

from __future__ import annotations

import pytest

from harness.plural import plural


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 stored responses"), (1, "1 stored response"), (2, "2 stored responses"), (1200, "1,200 stored responses")]
)
def test_a_count_and_its_noun_agree(number: int, said: str) -> None:
    assert plural(number, "stored response") == said
