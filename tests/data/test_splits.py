"""Splits by hash and epochs by generator."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.data import splits


@given(st.integers(1, 30), st.lists(st.integers(1, 17), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_no_row_is_drawn_twice_before_every_other_once(size: int, batches: list[int], seed: int) -> None:
    draw, generator = splits.epochs(size), np.random.default_rng(seed)
    drawn = [row for batch in batches for row in draw(generator, batch)]
    assert len(drawn) == sum(batches)
    for start in range(0, len(drawn), size):
        assert max(Counter(drawn[start : start + size]).values()) == 1
    assert drawn == splits.epochs(size)(np.random.default_rng(seed), len(drawn)), "how calls are cut changes nothing"


def test_generators_do_not_share_an_epoch() -> None:
    draw, one, two = splits.epochs(50), np.random.default_rng(0), np.random.default_rng(0)
    assert draw(one, 20) == draw(two, 20)
    assert draw(one, 30) == draw(two, 30) != draw(one, 30)


def test_shares_are_pinned_and_uniform() -> None:
    """SHA-256 of the empty text begins e3b0c44298fc1c14; pinned because published splits rest on these shares."""
    assert splits.share_of("") == (0xE3B0C44298FC1C14 >> 11) / 2**53
    shares = np.array([splits.share_of(str(n)) for n in range(4000)])
    assert shares.min() >= 0 and shares.max() < 1
    assert np.allclose(np.histogram(shares, bins=4, range=(0, 1))[0] / 4000, 0.25, atol=0.03)


@given(st.text())
def test_a_text_has_one_split(text: str) -> None:
    bounds = (("a", 0.3), ("b", 0.6), ("c", 1.0))
    share = splits.share_of(text)
    assert splits.split_of(text, bounds) == ("a" if share < 0.3 else "b" if share < 0.6 else "c")
