"""From a word on the command line to a judge that scores: a baseline, a lexicon, or a classifier in a folder or on the hub.

``WORD``, or ``WORD+prompt`` where the prompt is to be read as the beginning of the response. Finding a judge reads no weights and
imports no torch; it says what the judge is, or in one line why there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, near
from harness.judges import classifier, lexicons, words
from harness.judges.scored import Score, Scored, continued
from harness.store.cache import key_of
from harness.store.hashes import weights_hash

WHOLE = "+prompt"
LENGTH, OVERLAP, ROUGE, VADER = "length", "rouge-prompt", "rouge", "vader"
NAMES = (LENGTH, OVERLAP, ROUGE, VADER)
HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")  # of a hub repository: what a judge needs of it, no code and no pickles
FORMS = "FOLDER, ORG/NAME@REVISION of the hub, either with #LABEL, or a folder or zip of the opinion lexicon"


def is_general(word: str) -> bool:
    """Whether a word may mean a judge of this room at all: one of its names, or something with a place in it."""
    bare = word.removesuffix(WHOLE).partition("#")[0]
    return bare in NAMES or "/" in bare or Path(bare).exists()


def scored(word: str, references: words.References) -> Scored:
    """The judge that a word means; ``references`` are what ROUGE compares with. HarnessError in one line where there is none such."""
    bare, whole = word.removesuffix(WHOLE), word.endswith(WHOLE)
    found = _named(bare, references) or _placed(bare)
    if not whole:
        return found
    if found.facts.get("reads") == "prompt and response" or bare in (LENGTH, OVERLAP, ROUGE):
        raise HarnessError(f"judge {word!r}: '{WHOLE}' is for what reads the response alone, lexicons and labels of a classifier.")
    facts = {**found.facts, "reads": "prompt and response as one text"}
    key = key_of({"judge": found.key, "whole": True})
    return Scored(found.name + WHOLE, key, continued(found.score), found.unit, facts, found.counts)


def _named(name: str, references: words.References) -> Scored | None:
    """A judge that needs no place; None where the name is none of theirs."""
    if name == VADER:
        facts = {"reads": "response", "version": lexicons.vader_version(), "licence": "MIT"}
        return Scored(VADER, key_of({"judge": VADER, **facts}), _late(lexicons.vader), "compound score", facts)
    if name == ROUGE:
        rouge = words.Rouge(references)
        return replace(_rule(ROUGE, rouge, "ROUGE-L F1"), refuse=rouge.refuse)
    rules: Mapping[str, tuple[Score, str]] = {LENGTH: (words.length, "words"), OVERLAP: (words.overlap, "ROUGE-L F1")}
    return _rule(name, *rules[name]) if name in rules else None


def _rule(name: str, score: Score, unit: str) -> Scored:
    reads = "response" if name == LENGTH else "response and text"
    return Scored(name, key_of({"judge": name, "version": 1}), score, unit, {"reads": reads})


def _late(make: Callable[[], Score]) -> Score:
    """The score of ``make``, made when it is first asked for."""
    made: list[Score] = []

    def score(*texts: Any) -> Any:
        if not made:
            made.append(make())
        return made[0](*texts)

    return score


def _placed(word: str) -> Scored:
    """A judge in a folder, an archive or on the hub."""
    place, _, label = word.partition("#")
    folder = Path(place)
    if lexicons.holds_opinions(folder):
        return _lexicon(word, folder, label)
    if folder.is_dir():
        return _classifier(word, folder, label, {"source": folder.resolve().name})
    if HUB.fullmatch(place) and not folder.exists():
        name, _, revision = place.partition("@")
        snapshot = _snapshot(word, name, revision)
        return _classifier(word, snapshot, label, {"source": name, "revision": snapshot.name})
    said = "no sequence classifier and no opinion lexicon" if folder.exists() else "no such name or folder"
    raise HarnessError(f"judge {word!r}: {said}.{near(word, NAMES)} Legal: {', '.join(NAMES)}, {FORMS}.")


def _lexicon(word: str, place: Path, label: str) -> Scored:
    if label:
        raise HarnessError(f"judge {word!r}: a lexicon has no labels; leave #{label} out.")
    found = lexicons.opinions(place)
    facts = {"reads": "response", "weights": found.sha256, "licence": "CC BY 4.0", "words": len(found.orientation)}
    return Scored("opinion", key_of({"judge": "opinion", "version": 1, "sha256": found.sha256}), found.score, "mean orientation", facts)


def _classifier(word: str, folder: Path, label: str, facts: Mapping[str, Any]) -> Scored:
    found = classifier.declared(folder, label, word)
    asked = classifier.Classifier(found)
    weights = weights_hash(str(folder))
    reads = "prompt and response" if asked.reads_prompt else "response"
    key = key_of({"weights": weights, "label": label, "reading": classifier.READING})
    name = "#".join(filter(None, (Path(facts["source"]).name, label)))
    return Scored(name, key, asked, "nats", {**facts, "reads": reads, "weights": weights}, lambda: dict(asked.counts))


def _snapshot(word: str, name: str, revision: str) -> Path:
    """The local copy of a hub repository at a revision, fetched where the network is open; its folder is named by the commit."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = f"{name}@{revision}" if revision else name
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(FILES)))
    except LocalEntryNotFoundError as error:
        command = f"hf download {name}" + (f" --revision {revision}" if revision else "")
        said = f"{wanted} is not in the local cache and the hub cannot be reached; fetch it where there is a network"
        raise HarnessError(f"judge {word!r}: {said}: {command}.") from error
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise HarnessError(f"judge {word!r}: {' '.join(str(error).split())[:200]}") from error
