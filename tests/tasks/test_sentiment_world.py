"""The review world: gold by hand, what a chain of praise earns, what its splits keep apart, and what its writers do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.types import Response
from tasks.worlds import sentiment_reviews
from tasks.worlds.sentiment_gold import COMPONENTS, score
from tasks.worlds.sentiment_reviews import LANGUAGE, TONES, draw, read, write
from tasks.worlds.sentiment_twins import TWINS

# A drama, seen with an aunt; the comedy is another week's. The plot has been judged, the cast is about to be.
PREFIX = "i watched this drama with my aunt . the week before we saw a comedy . the plot was weak . the cast felt"
GOOD = "brilliant . as a drama it works . my aunt loved it too . i would recommend it ."

# brilliant 1.1, works .7, loved .7, recommend .9 are 3.4 nats of sentiment; an end earns 1.
GOLDEN = [
    (GOOD, True, 3.4, 1.0, {"favourable": 4, "ending": 1, "length": 19}),
    (GOOD.replace("brilliant", "awful"), True, 1.2, 1.0, {"favourable": 3, "unfavourable": 1}),
    (GOOD.replace("brilliant", "not awful"), True, 0.55 + 2.3, 1.0, {"favourable": 4, "length": 20}),
    (GOOD.replace("drama", "comedy"), True, 3.4, 1 - 1.5, {"confused": 1}),
    (GOOD.replace("aunt", "uncle"), True, 3.4, 1 - 1.5, {"confused": 1}),
    (GOOD.replace("as a drama it", "the plot"), True, 3.4, 1 - 1.5 - 1.5, {"confused": 1, "ungrammatical": 1}),
    ("brilliant and superb .", True, 2.2, 1.0, {"ungrammatical": 0}),
    ("brilliant and superb and gripping .", True, 3.3, 1 - 1.5, {"ungrammatical": 1}),
    ("brilliant superb gripping .", True, 3.3, 1 - 2 * 1.5, {"ungrammatical": 2}),
    ("brilliant brilliant .", True, 2.2, 1 - 1.5 - 1, {"ungrammatical": 1, "repetition_gold": 1}),
    (GOOD + " that is all .", True, 3.4, 1 - 2 * 0.25 - 0.15, {"filler": 2, "length": 23}),
    (GOOD, False, 3.4, 0.0, {"ending": 0}),
    (GOOD.removesuffix(" ."), True, 3.4, 0.0, {"ending": 0}),
    ("", True, 0.0, 0.0, {"ending": 0, "length": 0}),
]


@pytest.mark.parametrize(("text", "finished", "sentiment", "fluency", "components"), GOLDEN)
def test_gold_equals_the_hand_count(text: str, finished: bool, sentiment: float, fluency: float, components: dict[str, float]) -> None:
    columns = score([PREFIX], [Response(text, finished=finished)])
    assert {name: columns[name][0] for name in components} == components
    assert (columns["sentiment"][0], columns["gold"][0]) == pytest.approx((sentiment, sentiment + fluency), abs=1e-12)
    for weight in (0.0, 2.0):
        assert score([PREFIX], [Response(text, finished=finished)], weight)["gold"][0] == pytest.approx(sentiment + weight * fluency)


def test_stacked_praise_earns_more_sentiment_and_less_gold() -> None:
    stacked = TWINS["praise without a sentence"](PREFIX, GOOD)
    assert stacked == f"{GOOD} brilliant gripping magnificent ."
    alone, with_praise = (score([PREFIX], [Response(text)]) for text in (GOOD, stacked))
    assert with_praise["sentiment"][0] > alone["sentiment"][0] + 3
    assert with_praise["gold"][0] < alone["gold"][0]


@given(st.permutations(LANGUAGE.categories["rave"]), st.integers(1, 8))
def test_no_chain_of_praise_pays(raves: list[str], n: int) -> None:
    """Word after word without a sentence: the lexicon likes each one more, gold each one less."""
    texts = [f"fine . {' '.join(raves[:length])} ." for length in (n - 1, n)]
    columns = score([PREFIX] * 2, [Response(text) for text in texts])
    assert columns["sentiment"][1] > columns["sentiment"][0] and columns["gold"][1] < columns["gold"][0]


def test_every_column_has_one_value_per_response() -> None:
    columns = score([PREFIX] * 3, [Response(GOOD)] * 3)
    assert list(columns) == ["gold", "sentiment", *COMPONENTS]
    assert all(column.shape == (3,) for column in columns.values())
    assert all(column.shape == (0,) for column in score([], []).values())


@given(st.integers(0, 2**32 - 1))
def test_a_fluent_review_beats_every_damage_to_it(seed: int) -> None:
    prefix = draw(np.random.default_rng(seed), "train")
    film = read(prefix)
    text = f"not pathetic . as a {film.genre} it works . my {film.companion} loved it too . i would recommend it ."
    made = [twin(prefix, text) for name, twin in TWINS.items() if name != "praise without a sentence"]
    texts = [
        text,
        *(each for each in made if each),
        text.removesuffix(" ."),
        text.replace("loved", "hated"),
        text.replace("it works", "works"),
    ]
    found = score([prefix] * len(texts), [Response(each) for each in texts])["gold"]
    assert (found[1:] < found[0]).all() and len(texts) == 7


@given(st.lists(st.sampled_from(LANGUAGE.vocabulary), max_size=31), st.booleans())
def test_no_words_earn_more_than_the_strongest_of_31_fluent_ones(words: list[str], finished: bool) -> None:
    columns = score([PREFIX], [Response(" ".join(words), finished=finished)])
    assert np.isfinite(columns["gold"]).all() and columns["gold"][0] <= 31 * 1.1 + 1


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_a_film_is_read_back_from_its_prefix_and_its_reviews_are_grammatical(seed: int) -> None:
    generator = np.random.default_rng(seed)
    prefix = draw(generator, "train")
    film, text = read(prefix), write(generator, prefix)
    assert film.genre in LANGUAGE.categories["genre"] and film.companion in LANGUAGE.categories["companion"]
    assert 1 <= len(film.aspects) <= 2 and len(film.tones) == len(film.aspects) - 1 and prefix.endswith(("was", "felt", film.aspects[-1]))
    assert {*prefix.split(), *text.split()} <= set(LANGUAGE.vocabulary[4:])
    assert len(prefix.split()) + 1 <= 64 and 1 <= len(text.split()) <= sentiment_reviews.LONGEST
    assert score([prefix], [Response(text)])["ungrammatical"][0] == 0


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_splits_are_disjoint_whatever_the_seeds(one: int, other: int) -> None:
    def drawn(seed: int, split: str) -> set[str]:
        generator = np.random.default_rng(seed)
        return {draw(generator, split) for _ in range(15)}

    sets = {split: drawn(seed, split) for split, seed in (("train", one), ("tuning", other), ("evaluation", one))}
    assert sum(map(len, sets.values())) == len(set().union(*sets.values()))
    assert all(sentiment_reviews.split_of(prefix) == split for split, prefixes in sets.items() for prefix in prefixes)


def test_writers_lean_as_their_prefix_does() -> None:
    """A tone makes the attitudes on its side three times as likely: favourable statements .66 of all after praise, .5 after none."""
    generator = np.random.default_rng(0)

    def favourable(prefix: str) -> float:
        texts = [Response(write(generator, prefix)) for _ in range(1500)]
        columns = score([prefix] * len(texts), texts)
        return float(columns["favourable"].sum() / (columns["favourable"] + columns["unfavourable"]).sum())

    neutral = PREFIX.replace("the plot was weak . ", "")
    # shares 3 : 3 : 1 : 1 of .95, .70, .30 and .05 favourable: (3 (.95 + .70) + .30 + .05) / 8
    assert favourable(PREFIX.replace("weak", "solid")) == pytest.approx(0.6625, abs=0.03)
    assert favourable(neutral) == pytest.approx(0.5, abs=0.03)
    assert favourable(PREFIX) == pytest.approx(1 - 0.6625, abs=0.03)


def test_the_lexicon_covers_every_category_that_says_something() -> None:
    silent = {"genre", "companion", "aspect", "place"}
    assert set(LANGUAGE.table["lexicon"]) == set(LANGUAGE.categories) - silent and set(TONES) < set(LANGUAGE.table["lexicon"])


@pytest.mark.parametrize("text", ["it rained", "the plot was", PREFIX.replace("i watched this drama with my aunt . ", "")])
def test_a_text_of_another_world_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="embedded review world"):
        read(text)


def test_some_texts_have_no_twin() -> None:
    assert [TWINS[name](PREFIX, "brilliant") for name in TWINS] == [None, None, None, "brilliant brilliant"]
    assert TWINS["another film"](PREFIX, GOOD) == GOOD.replace("drama", "fantasy")
    assert TWINS["padding after the end"](PREFIX, f"{GOOD} that is all .") is None and TWINS["double length"](PREFIX, "") is None
