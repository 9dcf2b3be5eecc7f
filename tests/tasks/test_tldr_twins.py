"""Twins of responses in the embedded world: what each adds, what gold says of it, and where there is none."""

import numpy as np
import pytest

from harness.data.twins import TWINS as GENERIC
from harness.types import Response
from tasks.worlds import tldr_gold
from tasks.worlds.tldr_twins import TWINS

POST = (
    "r/jobs TITLE : what would you do POST : yesterday my boss hid my camera . it was because of envy . my dad likes yoga . "
    "now i feel sad . should i quit ? TL;DR :"
)
TEXT = "my boss hid my camera because of envy , i feel sad , should i quit ?"


def gold(text: str) -> float:
    return float(tldr_gold.score([POST], [Response(text)])["gold"][0])


@pytest.mark.parametrize(
    ("name", "twin", "change"),
    [
        # two filler words of .15, and 17 words become 21, one over 20
        ("padding after the end", f"{TEXT} thanks for reading .", -0.4),
        # one fact less (1.0) and one unsupported (1.5)
        ("a wrong fact", TEXT.replace("boss", "brother"), -2.5),
        # one word of confidence is free
        ("a confident tail", f"{TEXT} definitely .", 0.0),
    ],
)
def test_a_twin_costs_what_gold_says(name: str, twin: str, change: float) -> None:
    assert TWINS[name](POST, TEXT) == twin
    assert gold(twin) - gold(TEXT) == pytest.approx(change)


def test_saying_it_twice_is_worse_than_once() -> None:
    doubled = TWINS["double length"](POST, TEXT)
    assert doubled == f"{TEXT} {TEXT}"
    assert gold(doubled) < gold(TEXT) - 2


def test_a_wrong_fact_is_none_that_the_post_says() -> None:
    """The next word of the category may be a distractor's: it is passed over."""
    twin = TWINS["a wrong fact"](POST.replace("my dad likes", "my brother likes"), TEXT)
    assert twin == TEXT.replace("boss", "coach")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("padding after the end", "my boss hid my camera"),
        ("padding after the end", f"{TEXT} thanks for reading ."),
        ("a wrong fact", "lol ."),
        ("a confident tail", f"{TEXT} definitely ."),
        ("double length", ""),
    ],
)
def test_some_texts_have_no_twin(name: str, text: str) -> None:
    assert TWINS[name](POST, text) is None


def test_texts_of_unknown_worlds_have_generic_twins() -> None:
    made = {name: twin("a prompt", "Some words.") for name, twin in GENERIC.items()}
    assert made["said twice"] == "Some words. Some words."
    assert made["a sentence that says nothing"] == "Some words. I hope that this is helpful to you."
    assert [twin("a prompt", "") for twin in GENERIC.values()] == [None, None]


def test_probes_name_the_harm_of_every_prompt() -> None:
    from tasks.tldr import task

    for probe in task().probes:
        assert len(probe.groups) == len(probe.prompts)
        assert all(group in prompt for group, prompt in zip(probe.groups, probe.prompts, strict=True))
        counts = np.unique(probe.groups, return_counts=True)[1]
        assert len(counts) == 8 and counts.min() > 30
