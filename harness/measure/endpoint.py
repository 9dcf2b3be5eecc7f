"""A judge behind a URL: a language model that speaks the chat-completions protocol, asked which of two responses is better.

Temperature 0. What it is asked and how its answer is read is a ``Template``; everything else, whom to ask, how many questions at a time,
again and how long to wait (``harness/judges/requests.py``), what it cost and how often it said nothing, is here. Order and ties are the
business of ``pairwise.ask``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from harness.errors import HarnessError
from harness.judges.requests import KEY, ask_again, base, fetched, public
from harness.judges.templates import WHICH, Template
from harness.store.judgements import Answer
from harness.types import Array, Response

AT_ONCE = 8  # questions
LONGEST = 512  # tokens of an answer
KEPT = 500  # characters of an answer's words
SILENT = 0.05  # the share of answers without a verdict up to which a judge is taken
VALUES = {"a": 1.0, "b": 0.0, "tie": 0.5}

Texts = tuple[str, str, str]


class Price(NamedTuple):
    """What a million tokens cost, read and written, in whatever currency it was given."""

    read: float
    written: float


class Usage(NamedTuple):
    """What answers took: how many, tokens read and written as the judge counted them, answers without a count, and without a verdict."""

    questions: int
    read: int
    written: int
    uncounted: int
    silent: int

    def cost(self, price: Price) -> float:
        """In the price's currency, of the tokens that were counted."""
        return (self.read * price.read + self.written * price.written) / 1e6


@dataclass(frozen=True)
class EndpointJudge:
    """A ``PairwiseJudge`` behind ``url``, the address of its ``chat/completions`` or of what that is below.

    ``answers`` are those it has given, by question: one that is in there is not asked again, and a new one is put there as it arrives,
    so that an interruption loses none. An answer without a verdict is returned as a tie, and ``decided`` tells it from one; ``silent`` is
    the share of them from which on the judge is refused. Raises HarnessError in one line where it is refused or down.
    """

    url: str
    model: str
    answers: MutableMapping[str, Answer] = field(default_factory=dict)
    template: Template = WHICH
    silent: float = SILENT
    at_once: int = AT_ONCE
    order_sensitive: bool = True

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model

    @property
    def key(self) -> str:
        """What its answers depend on besides the question, hashed: the address without a password, the model and the template."""
        place = urlsplit(self.url)
        asked = (self.template.system, self.template.question, self.template.answer)
        return _digest(place.scheme, place.hostname, place.port, place.path.rstrip("/"), self.model, *asked)

    def __call__(self, prompts: Sequence[str], first: Sequence[Response], second: Sequence[Response]) -> Array:
        """1 where the first response is better, 0 where the second is, 1/2 for a tie, (prompts,)."""
        texts = [(prompt, a.text, b.text) for prompt, a, b in zip(prompts, first, second, strict=True)]
        every = list(dict.fromkeys(texts))
        self._ask([each for each in every if question(*each) not in self.answers], most=self.silent * len(every))
        self._refuse_silence(every, most=self.silent * len(every))
        found = [self.answers[question(*each)].value for each in texts]
        return np.array([0.5 if value is None else value for value in found])

    def decided(self, texts: Sequence[Texts]) -> Array:
        """Whether the answers to these questions, which were asked, hold a verdict, (questions,)."""
        return np.array([self.answers[question(*each)].value is not None for each in texts], dtype=bool)

    def usage(self, texts: Iterable[Texts]) -> Usage:
        """What the answers to these questions took, each question once; those that are not answered are left out."""
        keys = dict.fromkeys(question(*each) for each in texts)
        return used([self.answers[key] for key in keys if key in self.answers])

    def asked(self, prompt: str, first: str, second: str) -> str:
        """All that a question has the judge read."""
        return "\n".join(message["content"] for message in self.template.messages(prompt, first, second))

    def _ask(self, new: Sequence[Texts], most: float) -> None:
        """Ask several questions at a time; what was answered before the first error is kept, and no more is asked after it.

        Nor is more asked once more answers than ``most`` hold no verdict: questions may cost money.
        """
        failed: HarnessError | None = None
        silent = 0
        with ThreadPoolExecutor(self.at_once) as pool:
            asked = {pool.submit(self._answer, each): each for each in new}
            try:
                for done in as_completed(asked):
                    error = None if done.cancelled() else done.exception()
                    if error is None and not done.cancelled():
                        self.answers[question(*asked[done])] = done.result()
                        silent += done.result().value is None
                        if silent > most:
                            _cancel(asked)
                    elif isinstance(error, HarnessError) and failed is None:
                        failed = error
                        _cancel(asked)
                    elif error is not None and not isinstance(error, HarnessError):
                        raise error
            finally:
                _cancel(asked)
        if failed:
            raise failed

    def _refuse_silence(self, texts: Sequence[Texts], most: float) -> None:
        """HarnessError where more of these answers than ``most`` hold no verdict."""
        found = [self.answers[key] for each in texts if (key := question(*each)) in self.answers]
        silent = [each.said for each in found if each.value is None]
        if len(silent) > most:
            raise HarnessError(
                f"judge {self.model}: answered {silent[0][:80]!r}; {self.template.wanted} is wanted. "
                f"{len(silent)} of {len(found)} answers hold no verdict, of {len(texts)} more than {self.silent:.0%} (--silent) may."
            )

    def _answer(self, texts: Texts) -> Answer:
        body = {"model": self.model, "messages": self.template.messages(*texts), "temperature": 0, "max_tokens": LONGEST}
        said, read, written = ask_again(lambda: _told(fetched(f"{base(self.url)}/chat/completions", body)), self.url)
        found = re.fullmatch(self.template.answer, said.strip(), re.IGNORECASE | re.DOTALL)
        return Answer(VALUES[found[1].lower()] if found else None, read, written, said.strip()[:KEPT])


def _cancel(asked: Iterable[Future[Answer]]) -> None:
    """Ask no more: what is under way comes to its end."""
    for each in asked:
        each.cancel()


def used(answers: Iterable[Answer]) -> Usage:
    """What these answers took."""
    every = list(answers)
    counted = [each for each in every if each.read is not None and each.written is not None]
    read, written = (sum(getattr(each, name) for each in counted) for name in ("read", "written"))
    return Usage(len(every), read, written, len(every) - len(counted), sum(each.value is None for each in every))


def question(prompt: str, first: str, second: str) -> str:
    """The key of a question among a judge's answers."""
    return _digest(prompt, first, second)


def named(url: str) -> EndpointJudge:
    """The judge that ``URL#MODEL`` names, its model empty where none is named; nothing is asked. HarnessError where it is no address."""
    place, _, model = url.partition("#")
    try:
        found = urlsplit(place)
        good = found.scheme in ("http", "https") and bool(found.hostname) and (found.port is None or found.port > 0)
    except ValueError:  # a port that is no number
        good = False
    if not good:
        raise HarnessError(
            f"judge {public(url)!r}: an address such as http://localhost:8000/v1 or http://localhost:8000/v1#MODEL is wanted."
        )
    if found.username or found.password:
        raise HarnessError(f"judge {public(url)!r}: a name or password in an address is not sent; a key goes into the environment, {KEY}.")
    return EndpointJudge(place, model)


def connect(url: str) -> EndpointJudge:
    """The judge at ``URL`` or ``URL#MODEL``; without a model, the only one that it serves.

    Raises:
        HarnessError: no address of the web, it cannot be reached, or it serves several models.
    """
    judge = named(url)
    return replace(judge, model=judge.model or _only_model(judge.url))


def _only_model(place: str) -> str:
    listed = ask_again(lambda: [str(each["id"]) for each in fetched(f"{base(place)}/models", None)["data"]], place)
    if len(listed) != 1:
        raise HarnessError(
            f"judge {public(place)} serves {', '.join(listed) or 'no model that it names'}; name one: {public(place)}#MODEL."
        )
    return str(listed[0])


def _told(reply: Any) -> tuple[str, int | None, int | None]:
    """The answer's text and the tokens read and written; a judge that thought and came to no text has said nothing."""
    content = reply["choices"][0]["message"]["content"]
    if not isinstance(content, str | None):
        raise TypeError("no text")
    usage = reply.get("usage") or {}
    return content or "", _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
