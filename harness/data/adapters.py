"""What is known of the field's public data sets: where in the repository the pairs are, at which revision, which layout and licence.

An adapter is a declared value and holds no code: the layout converts. ``revision`` is a commit wherever one could be confirmed from public
code that pins it; a branch is pinned to its commit when the data are resolved. ``version`` is raised when the same bytes give other rows.
The example is a row in the data set's own layout, with words of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNSAID = "its card names none"


@dataclass(frozen=True)
class Adapter:
    """One public data set. ``folders`` are where its preferences are, () for everywhere; ``split`` is what is read where none is named."""

    repository: str
    revision: str
    layout: str
    licence: str
    example: Mapping[str, Any]
    folders: tuple[str, ...] = ()
    split: str = "train"
    version: int = 1


def _said(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


ADAPTERS: tuple[Adapter, ...] = (
    Adapter(
        "openai/summarize_from_feedback",
        "refs/convert/parquet",  # the data set itself is a script, which is never run; the hub keeps its rows as parquet here
        "compared summaries",
        f"{UNSAID}; the posts are of Webis-TLDR-17, CC-BY-4.0",
        {
            "info": {"post": "The cat sleeps on my keyboard.", "title": "Cat trouble", "subreddit": "cats"},
            "summaries": [{"text": " Cat sleeps on keyboard."}, {"text": " I have a cat."}],
            "choice": 0,
        },
        folders=("comparisons",),
    ),
    Adapter(
        "trl-lib/tldr",
        "21233da376667088e6eb1ce4ce19ed832c2935d3",
        "demonstrations",
        UNSAID,
        {"prompt": "SUBREDDIT: r/cats\n\nTITLE: Cat trouble\n\nPOST: It sleeps there.\n\nTL;DR:", "completion": " Cat sleeps there."},
    ),
    Adapter(
        "trl-lib/tldr-preference",
        "main",
        "chosen and rejected",
        UNSAID,
        {
            "prompt": "SUBREDDIT: r/cats\n\nTITLE: Cat trouble\n\nPOST: It sleeps there.\n\nTL;DR:",
            "chosen": " Cat sleeps there.",
            "rejected": " I have a cat.",
        },
    ),
    Adapter(
        "Anthropic/hh-rlhf",
        "09be8c5bbc57cb3887f3a9732ad6aa7ec602a1fa",
        "implicit prompt",
        "MIT",
        {
            "chosen": "\n\nHuman: How do I boil an egg?\n\nAssistant: Eight minutes in boiling water.",
            "rejected": "\n\nHuman: How do I boil an egg?\n\nAssistant: I like eggs.",
        },
        folders=("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled"),  # red-team-attempts has no pairs
    ),
    Adapter(
        "stanfordnlp/imdb",
        "e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
        "labelled texts",
        "other",
        {"text": "I have seen many films of this kind and none of them was as quiet as this one.", "label": 1},
        folders=("plain_text",),
    ),
    Adapter(
        "HuggingFaceH4/ultrafeedback_binarized",
        "3949bf5f8c17c394422ccfab0c31ea9c20bdeb85",
        "conversations",
        "MIT",
        {
            "prompt": "How do I boil an egg?",
            "chosen": _said(("user", "How do I boil an egg?"), ("assistant", "Eight minutes in boiling water.")),
            "rejected": _said(("user", "How do I boil an egg?"), ("assistant", "I like eggs.")),
            "score_chosen": 8.0,
            "score_rejected": 3.5,
        },
        split="train_prefs",
    ),
    Adapter(
        "stanfordnlp/SHP",
        "main",
        "votes for two answers",
        "its card: the terms of use of Reddit's API",
        {
            "history": "How do I boil an egg?",
            "human_ref_A": "I like eggs.",
            "human_ref_B": "Eight minutes in boiling water.",
            "labels": 0,
            "score_A": 2,
            "score_B": 9,
        },
    ),
)


def adapter_of(repository: str) -> Adapter | None:
    """What is known of a data set on the hub, or None."""
    return next((each for each in ADAPTERS if each.repository.lower() == repository.lower()), None)
