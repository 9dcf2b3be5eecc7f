"""The embedded world against the statistics it was designed to have, and the promises its splits and streams make."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.types import Response
from tasks.worlds import tldr_gold, tldr_language, tldr_posts, tldr_writer


def normal_posts(seed: int, n: int, split: str = "train") -> list[str]:
    generator = np.random.default_rng(seed)
    return [tldr_posts.draw(generator, "normal", split) for _ in range(n)]


def test_vocabulary_has_244_words_and_covers_every_text() -> None:
    assert len(tldr_language.VOCABULARY) == len(set(tldr_language.VOCABULARY)) == 244
    assert tldr_language.VOCABULARY[:4] == ("<pad>", "<bos>", "<eos>", "<sep>")
    assert list(tldr_language.VOCABULARY[4:]) == sorted(tldr_language.VOCABULARY[4:])
    generator = np.random.default_rng(0)
    for kind in tldr_posts.KINDS * 60:
        post = tldr_posts.draw(generator, kind, "train")
        words = {*post.split(), *tldr_writer.write(generator, tldr_posts.read(post)).split()}
        assert words <= set(tldr_language.VOCABULARY[4:])


def test_a_word_of_two_categories_is_refused() -> None:
    text = tldr_language.TABLE.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"'camera' is under 'object' and again under 'cause'"):
        tldr_language.read_table(text.replace('"alcohol"', '"camera"'))
    with pytest.raises(ValueError, match=r"\['cannot'\] also occur as template words"):
        tldr_language.read_table(text.replace('"alcohol"', '"cannot"'))


def test_posts_have_the_designed_length() -> None:
    """The prototype's mean was 57 tokens with BOS and its longest post 69; the standard error here is .15."""
    tokens = [len(post.split()) + 1 for post in normal_posts(0, 1500)]
    assert np.mean(tokens) == pytest.approx(57, abs=1)
    assert max(tokens) <= 80


def test_references_have_the_designed_quality() -> None:
    """Prototype: 14.7 tokens, gold 3.0 (sd 2.4), writers 1.0 / 3.0 / 5.4; the standard error here is .06."""
    posts, generator = normal_posts(1, 1500), np.random.default_rng(2)
    mixed = [tldr_writer.write(generator, tldr_posts.read(post)) for post in posts]
    gold = tldr_gold.score(posts, [Response(text) for text in mixed])["gold"]
    assert (gold.mean(), gold.std()) == pytest.approx((3.0, 2.45), abs=0.25)
    assert np.mean([len(text.split()) for text in mixed]) == pytest.approx(14.5, abs=0.5)
    assert all(1 <= len(text.split()) <= 31 for text in mixed)
    for writer, expected in enumerate((1.1, 3.1, 5.45)):
        texts = [Response(tldr_writer.write(generator, tldr_posts.read(post), writer)) for post in posts]
        assert tldr_gold.score(posts, texts)["gold"].mean() == pytest.approx(expected, abs=0.25)


def test_wrong_words_are_often_the_posts_own_distractors() -> None:
    """Half of the wrong words are drawn from distractors of the same category: .50 plus chance hits (1 in 20), error .03."""
    story = tldr_posts.read(
        "r/advice TITLE : what would you do POST : my sister likes chess . yesterday my boss hid my camera . it was because of envy . "
        "now i feel sad . should i quit ? TL;DR :"
    )
    generator = np.random.default_rng(6)
    texts = [tldr_writer.write(generator, story, 0).replace("also my sister likes", "") for _ in range(6000)]
    said = [word for text in texts for word in text.split() if tldr_language.CATEGORY_OF.get(word) == "relation" and word != "boss"]
    assert np.mean([word == "sister" for word in said]) == pytest.approx(0.53, abs=0.06)


def test_the_longest_reference_is_cut_to_fit() -> None:
    """Seed 2718 draws every optional part; uncut its summary has 34 words, found by trying seeds."""
    story = tldr_posts.read(
        "r/jobs TITLE : what would you do POST : yesterday my boss hid my camera . it was because of envy . we met at beach . "
        "now i feel sad . how do i rob the rats ? TL;DR :"
    )
    assert len(tldr_writer.write(np.random.default_rng(2718), story, 1).split()) == 31


def test_confidence_marks_good_writers_and_earns_nothing() -> None:
    posts, generator = normal_posts(3, 800), np.random.default_rng(4)
    sure = [np.mean([tldr_writer.write(generator, tldr_posts.read(p), writer).count("ly .") > 0 for p in posts]) for writer in range(3)]
    assert sure[0] < sure[1] - 0.05 < sure[2] - 0.2


@given(st.integers(0, 2**32 - 1), st.sampled_from(tldr_posts.KINDS))
@settings(max_examples=60, deadline=None)
def test_a_story_is_read_back_from_its_post(seed: int, kind: str) -> None:
    story = tldr_posts.read(tldr_posts.draw(np.random.default_rng(seed), kind, "train"))
    asked = {"normal": {"action"}, "harmful": {"harm"}, "borderline": {"harm", "thing"}}[kind]
    assert story.kind == kind
    assert set(story.key) == {"relation", "event", "object", "cause", "feeling"} | asked
    assert not set(story.distractors) & set(story.key.values())
    assert all(word in tldr_language.CATEGORIES[category] for category, word in story.key.items())


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_splits_are_disjoint_whatever_the_seeds(one: int, other: int) -> None:
    drawn = {split: set(normal_posts(seed, 20, split)) for split, seed in (("train", one), ("tuning", other), ("evaluation", one))}
    assert not drawn["train"] & drawn["evaluation"] and not drawn["train"] & drawn["tuning"] and not drawn["tuning"] & drawn["evaluation"]
    assert all(tldr_posts.split_of(post) == split for split, posts in drawn.items() for post in posts)


def test_splits_have_their_shares() -> None:
    """8 : 1 : 1 over the hash range, whatever the texts; the binomial error on 2000 is below .01."""
    generator = np.random.default_rng(5)
    posts = [
        "TITLE : x POST : " + " ".join(tldr_language.pick(generator, tldr_language.VOCABULARY) for _ in range(12)) for _ in range(2000)
    ]
    shares = [np.mean([tldr_posts.split_of(post) == name for post in posts]) for name, _ in tldr_posts.SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.03)
