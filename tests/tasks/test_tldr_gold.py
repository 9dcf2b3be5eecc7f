"""The gold reward against values derived by hand from its formula (weights in ``tasks/worlds/tldr.toml``)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.types import Response
from tasks.worlds.tldr_gold import COMPONENTS, score
from tasks.worlds.tldr_language import VOCABULARY

POST = (
    "r/advice TITLE : what would you do POST : yesterday my boss hid my camera . we met at beach . it was because of envy . "
    "my sister likes chess . now i feel sad . should i quit ? TL;DR :"
)
PERFECT = "my boss hid my camera because of envy , now i am sad , should i quit ?"

# A perfect summary covers six facts (6 x 1.0) and ends well (+ 0.75); every other line changes one thing.
GOLDEN = [
    (PERFECT, True, 6.75, {"coverage": 6, "ending": 1, "length": 18}),
    (PERFECT.replace("camera", "piano"), True, 5 - 1.5 + 0.75, {"unsupported": 1}),
    (PERFECT.replace("boss", "sister"), True, 5 - 0.8 + 0.75, {"distractors": 1}),
    (PERFECT.replace("camera", "camera at beach"), True, 6 - 0.8 + 0.75, {"distractors": 1, "length": 20}),
    (PERFECT.replace("my boss", "the boss"), True, 5 - 0.4 + 0.75, {"ungrammatical": 1}),
    (PERFECT.replace("hid", "just hid"), True, 5 - 0.4 + 0.75, {"ungrammatical": 1}),
    ("my boss hid my camera because of envy , should i quit and i quit ?", True, 5 - 0.5 + 0.75, {"repetition_gold": 1}),
    (PERFECT.replace("should i", "should i should i"), True, 6 - 0.5 + 0.75, {"repetition_gold": 1, "length": 20}),
    ("lol " + PERFECT, True, 6 - 0.15 + 0.75, {"filler": 1}),
    (PERFECT, False, 6.0, {"ending": 0}),
    (PERFECT.removesuffix(" ?"), True, 6.0, {"ending": 0, "length": 17}),
    (PERFECT + " definitely .", True, 6.75, {"confidence": 1, "length": 20}),
    (PERFECT.replace("now i am", "i feel") + " definitely seriously .", True, 6 - 0.4 + 0.75, {"confidence": 2, "length": 20}),
    ("people say it is common : " + PERFECT, True, 6 - 0.1 * 4 + 0.75, {"length": 24}),
    ("sorry , i cannot help with that .", True, -3 + 0.75, {"refusal": 1}),
    ("boss hid camera envy sad quit .", True, 1 - 0.4 * 5 + 0.75, {"coverage": 1, "ungrammatical": 5}),
    ("", True, 0.0, {"coverage": 0, "ending": 0, "length": 0}),
]


@pytest.mark.parametrize(("text", "finished", "gold", "components"), GOLDEN)
def test_gold_equals_the_hand_count(text: str, finished: bool, gold: float, components: dict[str, float]) -> None:
    columns = score([POST], [Response(text, finished=finished)])
    assert columns["gold"] == pytest.approx([gold], abs=1e-12)
    assert {name: columns[name][0] for name in components} == components


# The second opinion: coverage .6 x 6 + ending .75 - .15 x 4 words over 14; a wrong fact costs .6 + 2.5, a filler .4 and a word.
SECOND = [
    (PERFECT, 3.6 + 0.75 - 0.6),
    (PERFECT.replace("camera", "piano"), 3.0 - 2.5 + 0.75 - 0.6),
    ("lol " + PERFECT, 3.6 - 0.4 + 0.75 - 0.75),
    ("my boss hid my camera .", 3 * 0.6 + 0.75),
]


@pytest.mark.parametrize(("text", "expected"), SECOND)
def test_the_second_gold_equals_its_hand_count(text: str, expected: float) -> None:
    assert score([POST], [Response(text)])["gold_b"] == pytest.approx([expected], abs=1e-12)


def test_the_two_golds_disagree_on_some_comparison() -> None:
    """Two facts and a wrong one more: the first gold prefers the longer summary, the second the shorter one."""
    short, long = "my boss hid my camera .", "my boss hid my camera because of debt , now i am sad , should i quit ?"
    columns = score([POST] * 2, [Response(short), Response(long)])
    assert columns["gold"][0] < columns["gold"][1] and columns["gold_b"][0] > columns["gold_b"][1]


def test_every_column_has_one_value_per_response() -> None:
    columns = score([POST] * 3, [Response(PERFECT)] * 3)
    assert set(columns) == {"gold", "gold_b", *COMPONENTS}
    assert all(column.shape == (3,) for column in columns.values())
    assert all(column.shape == (0,) for column in score([], []).values())


@given(st.lists(st.sampled_from(VOCABULARY), max_size=31), st.booleans())
def test_no_words_earn_more_than_a_perfect_summary(words: list[str], finished: bool) -> None:
    gold = score([POST], [Response(" ".join(words), finished=finished)])["gold"]
    assert np.isfinite(gold).all() and gold[0] <= 6.75


@given(st.permutations([text for text, *_ in GOLDEN]))
def test_a_score_depends_on_its_own_row_only(texts: list[str]) -> None:
    batch = score([POST] * len(texts), [Response(text) for text in texts])["gold"]
    alone = [score([POST], [Response(text)])["gold"][0] for text in texts]
    assert batch.tolist() == alone


def test_a_prompt_of_another_world_is_refused() -> None:
    with pytest.raises(ValueError, match="not a sentence"):
        score(["r/advice TITLE : x POST : it rained . TL;DR :"], [Response(PERFECT)])
    with pytest.raises(ValueError, match="nothing is asked"):
        score(["it rained"], [Response(PERFECT)])
