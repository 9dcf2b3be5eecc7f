"""Sentiment by counted words: VADER, and the opinion lexicon of Hu and Liu.

Both are rules that a policy learns to please without meaning anything: "great" said six times is near the top of VADER's scale. They
are baselines and second opinions, not a measure of sentiment that training may aim at alone.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.errors import HarnessError
from harness.judges.scored import Score
from harness.types import Array, Response

PACKAGE = "vaderSentiment"
WORDS = {1.0: "positive-words.txt", -1.0: "negative-words.txt"}  # the files of the opinion lexicon as its authors and NLTK name them
FEWEST = 100  # words in either list; the published lists have thousands
NEGATIONS = frozenset({"no", "not", "never", "cannot", "hardly", "without"})
NEAR = 5  # words on either side in which a negation turns an opinion round (Hu and Liu 2004, section 5)
TOKEN = re.compile(r"[a-z0-9](?:[a-z0-9'*+-]*[a-z0-9*+])?")


def vader_version() -> str:
    """The version of the package that holds VADER; HarnessError with how to get it where it is not installed."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        message = f"judge 'vader': the package {PACKAGE} is not installed; pip install {PACKAGE}, or the extra 'sentiment' of this project."
        raise HarnessError(message) from None


def vader() -> Score:
    """VADER's compound score in [-1, 1] (Hutto and Gilbert 2014, ICWSM) of each response, (responses,); MIT licence."""
    vader_version()
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyser = SentimentIntensityAnalyzer()
    return lambda prompts, responses: np.array([float(analyser.polarity_scores(each.text)["compound"]) for each in responses])


class Lexicon(NamedTuple):
    """Words and their orientation, +1 or -1; ``sha256`` is that of the two lists."""

    orientation: Mapping[str, float]
    sha256: str

    def score(self, prompts: Sequence[str], responses: Sequence[Response]) -> Array:
        """Mean orientation of a response's words, in [-1, 1], (responses,): positive less negative ones, over all.

        The sign is that of Hu and Liu 2004 (KDD, section 5): a negation within five words turns an opinion word round. Over all words,
        so that a longer response is not more positive for being longer.
        """
        return np.array([self._mean([*TOKEN.findall(response.text.lower().replace("\u2019", "'"))]) for response in responses])

    def _mean(self, words: Sequence[str]) -> float:
        found = [(index, self.orientation[word]) for index, word in enumerate(words) if word in self.orientation]
        turned = [-value if _negated(words, index) else value for index, value in found]
        return sum(turned) / max(1, len(words))


def _negated(words: Sequence[str], index: int) -> bool:
    near = words[max(0, index - NEAR) : index + NEAR + 1]
    return any(word in NEGATIONS or word.endswith("n't") for word in near)


def holds_opinions(place: Path) -> bool:
    """Whether a folder or a zip archive has the two lists of the opinion lexicon."""
    return place.exists() and all(_named(place, name) for name in WORDS.values())


def opinions(place: Path) -> Lexicon:
    """The opinion lexicon (Hu and Liu 2004; CC BY 4.0, from its authors' page or NLTK's data) in a folder or zip archive.

    Lines that begin with a semicolon are comments. HarnessError where a list is short of what was published.
    """
    texts = {value: _text(place, name) for value, name in WORDS.items()}
    lists = {
        value: [word for each in text.splitlines() if (word := each.strip().lower()) and word[0] != ";"] for value, text in texts.items()
    }
    for value, words in lists.items():
        if len(words) < FEWEST:
            raise HarnessError(f"judge {str(place)!r}: {WORDS[value]} holds {len(words)} words; the opinion lexicon has thousands.")
    both = set(lists[1.0]) & set(lists[-1.0])  # three in the published lists: no orientation
    orientation = {word: value for value, words in lists.items() for word in words if word not in both}
    return Lexicon(orientation, hashlib.sha256("\0".join(texts[value] for value in sorted(texts)).encode()).hexdigest())


def _entries(text: str) -> list[str]:
    return [word for line in text.splitlines() if (word := line.strip().lower()) and word[0] != ";"]


def _named(place: Path, name: str) -> list[str]:
    """Where in a folder or archive a file of this name is."""
    if place.is_dir():
        return [name] if (place / name).is_file() else []
    if not zipfile.is_zipfile(place):
        return []
    with zipfile.ZipFile(place) as archive:
        return [each for each in archive.namelist() if each.rpartition("/")[2] == name]


def _text(place: Path, name: str) -> str:
    """A list's text; the authors' own files are Latin-1, NLTK's UTF-8."""
    found = _named(place, name)
    if len(found) != 1:
        wanted = " and ".join(WORDS.values())
        raise HarnessError(f"judge {str(place)!r}: {len(found)} files are named {name}; the opinion lexicon is one {wanted}.")
    if place.is_dir():
        content = (place / name).read_bytes()
    else:
        with zipfile.ZipFile(place) as archive:
            content = archive.read(found[0])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
