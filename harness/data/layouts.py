"""The layouts that preference data come in, told apart by their columns and by what the first row holds under them.

Other columns are ignored. A conversion returns what a record says, or the reason for dropping it; a value of the wrong type under a
column that is needed is an error, not a dropped row, because then the layout is another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.data.conversations import Divided, answered, asking, divided, divided_text, messages, written
from harness.data.rows import Rated, Row
from harness.data.texts import opening
from harness.data.values import Record, items, number, text, verdict
from harness.errors import HarnessError

Found = Row | str | list[Row] | list[Rated]
EMPTY = "empty response"
TELLING = 50  # records that are looked at to know the layout of a file
SCORES = (("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"), ("chosen_rating", "rejected_rating"))
POST = "SUBREDDIT: r/{subreddit}\n\nTITLE: {title}\n\nPOST: {post}\n\nTL;DR:"


class Layout(NamedTuple):
    """The columns that a layout needs, what the first record must hold under them, and what turns a record into rows."""

    columns: tuple[str, ...]
    convert: Callable[[Record], Found]
    fits: Callable[[Record], bool] = lambda record: True


def _pair(prompt: str, chosen: str, rejected: str, record: Record) -> Row | str:
    chosen, rejected = chosen.strip(), rejected.strip()
    if not chosen or not rejected:
        return EMPTY
    return Row(prompt.rstrip(), chosen, rejected, margin=margin(record), agreement=number(record, "agreement"))


def margin(record: Record) -> float | None:
    """How much better the chosen response was rated: the ``margin``, or the difference of the two scores; None where neither is known."""
    said = number(record, "margin")
    if said is not None:
        return said
    for better, worse in SCORES:
        one, two = number(record, better), number(record, worse)
        if one is not None and two is not None:
            return one - two
    return None


def _judged(record: Record) -> Found:
    """A judged summary; a blank preference is an unjudged row, not a dropped one."""
    prompt, preferred = text(record, "query").rstrip(), text(record, "preferred").strip()
    ours, reference = text(record, "postprocessed_response").strip(), text(record, "reference_responses").strip()
    if preferred not in ("ours", "reference", ""):
        return "unknown preference"
    if not ours or not reference:
        return EMPTY
    if not preferred:
        return Row(prompt, reference=reference)
    chosen, rejected = (ours, reference) if preferred == "ours" else (reference, ours)
    return Row(prompt, chosen, rejected, reference)


def _compared_summaries(record: Record) -> Found:
    """Two summaries of a post and the choice of one; articles have no subreddit and are no posts."""
    info, summaries, choice = record["info"], record["summaries"], number(record, "choice")
    if not isinstance(info, Mapping) or not isinstance(summaries, Sequence) or not all(isinstance(each, Mapping) for each in summaries):
        raise HarnessError("has no object under 'info' or no list of objects under 'summaries'")
    if not text(info, "post"):
        return "not a post"
    if choice not in (0, 1) or len(summaries) != 2:
        return "unknown preference"
    both = [text(each, "text") for each in summaries]
    prompt = POST.format(subreddit=text(info, "subreddit"), title=text(info, "title"), post=text(info, "post"))
    return _pair(prompt, both[int(choice)], both[1 - int(choice)], record)


def _shp(record: Record) -> Found:
    """A post with two comments; label 1 says that the first was preferred, by the votes that the two got."""
    first, second, label = text(record, "human_ref_A"), text(record, "human_ref_B"), verdict(record, "labels")
    if label is None:
        return "unknown preference"
    votes = number(record, "score_A"), number(record, "score_B")
    gap = None if None in votes else abs((votes[0] or 0.0) - (votes[1] or 0.0))
    chosen, rejected = (first, second) if label else (second, first)
    return _pair(asking(text(record, "history")), chosen, rejected, {**record, "margin": gap})


def _strings(record: Record) -> Found:
    return _pair(text(record, "prompt"), text(record, "chosen"), text(record, "rejected"), record)


def _conversations(record: Record) -> Found:
    """Messages under chosen and rejected: whole conversations, or what the assistant goes on with after a prompt of its own column."""
    if not record.get("chosen") or not record.get("rejected"):
        return EMPTY
    chosen, rejected = (_turns(record, name) for name in ("chosen", "rejected"))
    before = next((record[name] for name in ("conversations", "prompt") if record.get(name)), None)
    if before is None or chosen[0].speaker != "Assistant":
        return _divided(divided(chosen, rejected), record)
    opening = messages(before) or messages({"role": "user", "content": str(before)})
    assert opening is not None
    return _divided(divided([*opening, *chosen], [*opening, *rejected]), record)


def _turns(record: Record, name: str) -> Any:
    found = messages(record.get(name))
    if found is None:
        raise HarnessError(f"has no messages under '{name}'; expected a list of {{role, content}}")
    return found


def _divided(found: Divided | str, record: Record) -> Found:
    return found if isinstance(found, str) else _pair(*found, record)


def _implicit(record: Record) -> Found:
    return _divided(divided_text(text(record, "chosen"), text(record, "rejected")), record)


def _asked(record: Record, name: str) -> str:
    """A prompt, be it text or messages."""
    value = record.get(name)
    turns = None if isinstance(value, str) else messages(value)
    return written(turns) if turns else text(record, name)


def _answer(record: Record, *names: str) -> str:
    """A response, be it text or one message, under the first of the columns that the record has."""
    name = next(name for name in names if name in record)
    turns = None if isinstance(record[name], str) else messages(record[name])
    return turns[-1].text if turns else text(record, name).strip()


def _unpaired(record: Record) -> Found:
    answer = _answer(record, "completion", "response")
    return [Rated(_asked(record, "prompt").rstrip(), answer, verdict(record, "label"))] if answer else EMPTY


def _unpaired_messages(record: Record) -> Found:
    found = answered(_turns(record, "messages"))
    return found if isinstance(found, str) else [Rated(*found, verdict(record, "label"))]


def _rating(record: Record) -> Found:
    answer, rating = _answer(record, "completion", "response"), number(record, "rating", "score")
    return [Rated(_asked(record, "prompt").rstrip(), answer, rating=rating)] if answer else EMPTY


def _rated_list(record: Record) -> Found:
    """Responses to one prompt with a number each: ratings, higher being better, or ranks, 1 being the best."""
    prompt, answers = _asked(record, "prompt").rstrip(), items(record, "responses", "completions")
    name = next((name for name in ("ranks", "ratings") if record.get(name) is not None), "scores")
    numbers = items(record, name)
    if len(answers) != len(numbers):
        return "not as many numbers as responses"
    rated = [number({name: value}, name) for value in numbers]
    signed = [None if value is None else (-value if name == "ranks" else value) for value in rated]
    said = zip([_answer({"text": answer}, "text") for answer in answers], signed, strict=True)
    return [Rated(prompt, answer, rating=value) for answer, value in said if answer and value is not None] or EMPTY


def _ranking(record: Record) -> Found:
    """Responses in order, the best first; the rating of each is how many it is better than."""
    answers = [_answer({"text": answer}, "text") for answer in items(record, "ranking")]
    prompt = _asked(record, "prompt").rstrip()
    return [Rated(prompt, answer, rating=float(len(answers) - 1 - place)) for place, answer in enumerate(answers) if answer] or EMPTY


def _feedback(record: Record) -> Found:
    """An instruction with completions, each an object with its own overall score."""
    objects = [each for each in items(record, "completions") if isinstance(each, Mapping)]
    rated = [(text(each, "response").strip(), number(each, "overall_score", "fine-grained_score")) for each in objects]
    prompt = asking(text(record, "instruction"))
    return [Rated(prompt, answer, rating=score) for answer, score in rated if answer and score is not None] or EMPTY


def _demonstration(record: Record) -> Found:
    answer = _answer(record, "completion")
    return Row(_asked(record, "prompt").rstrip(), reference=answer) if answer else EMPTY


def _abstract(record: Record) -> Found:
    """A text in sentences with one or more summaries of it."""
    prompt = " ".join(map(str, items(record, "source"))).strip() + "\n\nTL;DR:"
    targets = record["target"] if not isinstance(record["target"], str) else [record["target"]]
    return [Row(prompt, reference=str(each).strip()) for each in targets if str(each).strip()] or EMPTY


def _labelled_text(record: Record) -> Found:
    """A text whose opening is a prompt and whose rest goes on from it; its label is a class, not a preference, and is left out."""
    prompt, rest = opening(text(record, "text"))
    return Row(prompt, reference=rest) if rest else EMPTY


def _has_messages(record: Record) -> bool:
    return messages(record.get("chosen")) is not None and messages(record.get("rejected")) is not None


LAYOUTS: Mapping[str, Layout] = {
    "judged summaries": Layout(("query", "postprocessed_response", "reference_responses", "preferred"), _judged),
    "compared summaries": Layout(("info", "summaries", "choice"), _compared_summaries),
    "votes for two answers": Layout(("history", "human_ref_A", "human_ref_B", "labels"), _shp),
    "conversations": Layout(("chosen", "rejected"), _conversations, _has_messages),
    "chosen and rejected": Layout(("prompt", "chosen", "rejected"), _strings),
    "implicit prompt": Layout(("chosen", "rejected"), _implicit, lambda record: not {"prompt", "conversations"} & record.keys()),
    "completions with scores": Layout(("instruction", "completions"), _feedback),
    "ranking": Layout(("prompt", "ranking"), _ranking),
    "ranks": Layout(("prompt", "responses", "ranks"), _rated_list),
    "ratings of several": Layout(("prompt", "responses", "ratings"), _rated_list),
    "scores of several": Layout(("prompt", "completions", "scores"), _rated_list),
    "unpaired": Layout(("prompt", "completion", "label"), _unpaired),
    "unpaired messages": Layout(("messages", "label"), _unpaired_messages),
    "unpaired responses": Layout(("prompt", "response", "label"), _unpaired),
    "rating": Layout(("prompt", "response", "rating"), _rating),
    "score": Layout(("prompt", "completion", "score"), _rating),
    "demonstrations": Layout(("prompt", "completion"), _demonstration),
    "summaries of a text": Layout(("source", "target"), _abstract),
    "labelled texts": Layout(("text", "label"), _labelled_text),
}
"""In the order in which they are tried: a layout whose columns another's contain stands behind it."""
COMMON = [LAYOUTS[name].columns for name in ("chosen and rejected", "implicit prompt", "unpaired", "judged summaries")]


def typical(records: Sequence[Any]) -> Any:
    """The first of the records that leaves the fewest columns empty, among as many as tell; a null says nothing of a layout."""
    return max(
        records[:TELLING], key=lambda record: sum(value is not None for value in record.values()) if isinstance(record, Mapping) else 0
    )


def of(record: Any, where: str) -> str:
    """The name of the layout that a record has; HarnessError with its columns, and the layout that is nearest."""
    found = sorted(filter(None, record)) if isinstance(record, Mapping) else []
    for name, layout in LAYOUTS.items():
        if set(layout.columns) <= set(found) and layout.fits(record):
            return name
    nearest = max(LAYOUTS.values(), key=lambda layout: len(set(layout.columns) & set(found)) / len(layout.columns))
    lacks = f", of which it lacks {', '.join(sorted(set(nearest.columns) - set(found)))}" if set(nearest.columns) & set(found) else ""
    expected = f"({', '.join(nearest.columns)}){lacks}" if lacks else " or ".join(f"({', '.join(each)})" for each in COMMON)
    raise HarnessError(f"{where} has the columns ({', '.join(found)}); expected {expected}, or another of the layouts in docs/data.md")
