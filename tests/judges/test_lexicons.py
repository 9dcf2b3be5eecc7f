"""Sentiment by counted words, and the baselines, on texts whose score is counted by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.judges import find, lexicons
from harness.types import Array, Response

POSITIVE = ["; a comment", "", "good", "great", "easy-to-use", "a+", *[f"plus{i}" for i in range(100)], "envious"]
NEGATIVE = ["; another", "bad", "f**k", "2-faced", *[f"minus{i}" for i in range(100)], "envious"]


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """The two files in a folder: Latin-1 as the authors have them."""
    place = tmp_path / "opinion"
    place.mkdir()
    for name, words in (("positive-words.txt", POSITIVE), ("negative-words.txt", [*NEGATIVE, "na\u00efve"])):
        (place / name).write_text("\n".join(words), encoding="latin-1")
    return place


def scores(word: str, *texts: str, prompt: str = "") -> Array:
    return find.scored(word, {}).score([prompt] * len(texts), [Response(text) for text in texts])


def test_orientations_are_summed_over_words_and_turned_by_a_negation(lists: Path) -> None:
    texts = {
        "A good, great film": 2 / 4,
        "bad bad GOOD": -1 / 3,
        "easy-to-use; a+ ; 2-faced f**k": 0.0,
        "not good": -1 / 2,
        "it isn\u2019t bad at all": 1 / 5,
        "no one two three four five six good": 1 / 8,  # seven words away
        "envious": 0.0,  # in both lists
        "nothing here": 0.0,
        "": 0.0,
    }
    assert scores(str(lists), *texts) == pytest.approx(list(texts.values()))
    assert scores(f"{lists}+prompt", "film", prompt="a good") == pytest.approx([1 / 3])


def test_an_archive_is_the_same_lexicon(lists: Path, tmp_path: Path) -> None:
    archive = tmp_path / "opinion_lexicon.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        for path in lists.iterdir():
            stream.write(path, f"opinion_lexicon/{path.name}")
    judges = [find.scored(str(place), {}) for place in (lists, archive)]
    assert judges[0].key == judges[1].key
    assert judges[0].facts["words"] == 208  # 105 in either list, less the one that is in both
    assert scores(str(archive), "good").tolist() == [1.0]


def test_lists_that_are_too_short_or_twice_there_are_refused(lists: Path, tmp_path: Path) -> None:
    archive = tmp_path / "twice.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        for folder in ("a", "b"):
            for path in lists.iterdir():
                stream.write(path, f"{folder}/{path.name}")
    with pytest.raises(HarnessError, match=r"2 files are named positive-words\.txt; the opinion lexicon is one"):
        find.scored(str(archive), {})
    with pytest.raises(HarnessError, match=r"a lexicon has no labels; leave #x out"):
        find.scored(f"{lists}#x", {})
    (lists / "negative-words.txt").write_text("bad\n")
    with pytest.raises(HarnessError, match=r"negative-words\.txt holds 1 words; the opinion lexicon has thousands"):
        find.scored(str(lists), {})


def test_the_published_lexicon_tells_reviews_apart(real_data: Path) -> None:
    """Reviews whose label is known, 200 of each: better than chance by far, worse than a reader."""
    (archive,) = (real_data / "imdb-sentiment").glob("opinion_lexicon.zip")
    judge = find.scored(str(archive), {})
    assert judge.facts["words"] == 6783  # 2006 and 4783, less three that are in both lists, twice
    assert right(judge.score, real_data) == pytest.approx(0.7, abs=0.1)


def right(score: object, data: Path) -> float:
    """Share of reviews on whose side of the median score their label is."""
    texts: list[str] = []
    with zipfile.ZipFile(data / "imdb-sentiment" / "movie_reviews.zip") as stream:
        for kind in ("neg", "pos"):
            names = sorted(name for name in stream.namelist() if f"/{kind}/" in name and name.endswith(".txt"))[:200]
            texts += [stream.read(name).decode() for name in names]
    found = score([""] * len(texts), [Response(text) for text in texts])  # type: ignore[operator]
    return float(((found > np.median(found)) == (np.arange(len(texts)) >= 200)).mean())


def test_vader_is_the_published_rule_and_is_easily_pleased() -> None:
    """The example of its authors' own page, 0.8316, and a text that means nothing."""
    pytest.importorskip("vaderSentiment", reason="the extra 'sentiment' is not installed")
    found = scores(
        "vader", "VADER is smart, handsome, and funny.", "great great great great great great", "The book was only kind of good."
    )
    assert found == pytest.approx([0.8316, 0.979, 0.3832], abs=5e-5)
    assert find.scored("vader", {}).facts["licence"] == "MIT"


def test_vader_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicons, "PACKAGE", "no-such-package")
    with pytest.raises(HarnessError, match=r"judge 'vader': the package no-such-package is not installed; pip install"):
        find.scored("vader", {})


def test_the_baselines() -> None:
    assert scores("length", "a b  c", "").tolist() == [3, 0]
    assert scores("rouge-prompt", "the cat", "a dog", prompt="the black cat") == pytest.approx([0.8, 0.0])  # 2 of 2 and 2 of 3 words
    rouge = find.scored("rouge", {"p": ["the black cat", "a dog"]})
    assert rouge.score(["p", "p"], [Response("the cat"), Response("a big dog")]) == pytest.approx([0.8, 0.8])
    with pytest.raises(HarnessError, match="no reference response to 'q'"):
        rouge.score(["q"], [Response("x")])
    with pytest.raises(HarnessError, match="is itself the reference"):
        rouge.score(["p"], [Response("a dog")])
    with pytest.raises(HarnessError, match=r"'\+prompt' is for what reads the response alone"):
        find.scored("length+prompt", {})
