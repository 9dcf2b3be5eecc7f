"""Conversations as text: lists of messages written out turn by turn, and two conversations taken apart into prompt and responses.

A conversation is written as the helpful-and-harmless data have it (Bai et al. 2022, arXiv 2204.05862): a blank line, the speaker, a
colon. The prompt ends where the assistant is about to speak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

SPEAKERS: Mapping[str, str] = {"user": "Human", "human": "Human", "assistant": "Assistant", "gpt": "Assistant", "system": "System"}
ASKING, ANSWERING = "\n\nHuman:", "\n\nAssistant:"
DIFFERENT = "chosen and rejected have different prompts"
UNPROMPTED = "no prompt before the response"
UNANSWERED = "the last message is not the assistant's"


class Message(NamedTuple):
    """One turn: who speaks, as ``SPEAKERS`` calls them, and the text without outer white space."""

    speaker: str
    text: str


class Divided(NamedTuple):
    """A prompt and the two responses to it."""

    prompt: str
    chosen: str
    rejected: str


def messages(value: Any) -> list[Message] | None:
    """The turns of a message or a list of messages ({role, content}, or {from, value}), or None where the value is nothing of the kind."""
    turns = [value] if isinstance(value, Mapping) else value
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        return None
    found = [_message(turn) for turn in turns]
    return None if None in found else [turn for turn in found if turn is not None]


def _message(turn: Any) -> Message | None:
    if not isinstance(turn, Mapping):
        return None
    who, said = (turn.get(a) if turn.get(a) is not None else turn.get(b) for a, b in (("role", "from"), ("content", "value")))
    if not isinstance(who, str) or not isinstance(said, str | None):
        return None
    return Message(SPEAKERS.get(who.lower(), who.capitalize()), (said or "").strip())


def written(turns: Sequence[Message]) -> str:
    """The turns as text, the assistant about to speak."""
    return "".join(f"\n\n{turn.speaker}: {turn.text}" for turn in turns) + ANSWERING


def asking(text: str) -> str:
    """A text that the human says, as the opening of a conversation."""
    return written([Message("Human", text.strip())])


def answered(turns: Sequence[Message]) -> tuple[str, str] | str:
    """(prompt, response) of a conversation that ends in the assistant's answer, or the reason why it is none."""
    if turns[-1].speaker != "Assistant":
        return UNANSWERED
    return (written(turns[:-1]), turns[-1].text) if len(turns) > 1 else UNPROMPTED


def divided(chosen: Sequence[Message], rejected: Sequence[Message]) -> Divided | str:
    """Two whole conversations that differ in their last message, or the reason why they are not."""
    one, two = answered(chosen), answered(rejected)
    if isinstance(one, str) or isinstance(two, str):
        return one if isinstance(one, str) else str(two)
    return Divided(one[0], one[1], two[1]) if one[0] == two[0] else DIFFERENT


def divided_text(chosen: str, rejected: str) -> Divided | str:
    """Two whole texts with the same beginning: a transcript is cut before the assistant's last turn, other text after the common words.

    Transcripts that differ before that turn answer different prompts, and no response of theirs can be compared.
    """
    places = chosen.rfind(ANSWERING), rejected.rfind(ANSWERING)
    if min(places) < 0:
        return _after_common_words(chosen, rejected)
    one, two = (text[: place + len(ANSWERING)] for text, place in zip((chosen, rejected), places, strict=True))
    return Divided(one, chosen[len(one) :].strip(), rejected[len(two) :].strip()) if one == two else DIFFERENT


def _after_common_words(chosen: str, rejected: str) -> Divided | str:
    """The longest common beginning that ends where a word ends."""
    least = min(len(chosen), len(rejected))
    length = next((i for i in range(least) if chosen[i] != rejected[i]), least)
    while length and not chosen[length - 1].isspace():
        length -= 1
    prompt = chosen[:length].rstrip()
    return Divided(prompt, chosen[length:].strip(), rejected[length:].strip()) if prompt else UNPROMPTED


def turns_in(prompt: str) -> int:
    """How often the human speaks in a prompt that is a transcript; 1 where it is none."""
    return max(1, prompt.count(ASKING))
