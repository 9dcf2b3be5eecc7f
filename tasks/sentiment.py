"""Film reviews continued under a sentiment: an embedded world with a gold lexicon, or real reviews (Rafailov et al. 2023, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from harness.data import sources, splits
from harness.data.lazy import Lazy
from harness.data.twins import TWINS
from harness.errors import HarnessError
from harness.types import Array, Defaults, Demonstration, Response, Task
from tasks import classifier, recorded, reviews
from tasks.worlds import language, sentiment_gold, sentiment_reviews, sentiment_twins

DESCRIPTION = "reviews continued under a sentiment: an embedded world with a gold lexicon, or real reviews from a file, folder or zip"
ALIASES = ("imdb",)
ALGORITHMS = ("dpo", "ipo", "kto", "dpop", "ppo", "sft_chosen")
EVALUATION, TUNING = 512, 256
PAIRS = 600  # sampled on the prefixes of real reviews
SPLIT_STREAMS = 7001  # a first seed that no training stream has, so that a fixed split never repeats one


def task(source: str | Path | None = None, *, limit: int | None = None, seed: int = 0, fluency: float = 1.0) -> Task:
    """Returns the embedded task (``source`` None or "embedded"), or the task made of labelled reviews (``harness.data.places``).

    ``limit`` caps the rows of every fixed split (embedded) or the reviews. ``seed`` draws the embedded world's fixed splits; those of
    real reviews depend on their text alone. ``fluency`` weighs what a fluent review must not do beside the sentiment in the embedded
    ``gold``; 0 is the lexicon's log-odds alone.
    """
    if not fluency >= 0:
        raise HarnessError(f"sentiment.fluency: {fluency:g} is negative; it weighs fluency beside sentiment, from 0.")
    if source in (None, "embedded"):
        return _embedded(limit, seed, fluency)
    if fluency != 1.0:
        raise HarnessError("sentiment.fluency is of the embedded world; a classifier of real reviews knows no grammar.")
    return _from_reviews(str(source), limit)


def _embedded(limit: int | None, seed: int, fluency: float) -> Task:
    def fixed(stream: int, split: str, n: int) -> Lazy[Demonstration]:
        return Lazy(lambda: _written(np.random.default_rng((SPLIT_STREAMS, seed, stream)), n if limit is None else min(n, limit), split))

    def prompts(generator: np.random.Generator, n: int) -> list[str]:
        return [sentiment_reviews.draw(generator, "train") for _ in range(n)]

    return Task(
        name="sentiment",
        version=language.version(__file__, "sentiment"),
        source="embedded",
        demonstrations=lambda generator, n: _written(generator, n, "train", 3),
        training_prompts=prompts,
        tuning=fixed(1, "tuning", TUNING),
        evaluation=fixed(2, "evaluation", EVALUATION),
        defaults=Defaults(algorithms=ALGORITHMS, model="tiny-128", probe_prompts=0),
        max_prompt_tokens=64,
        max_response_tokens=32,
        vocabulary=sentiment_reviews.LANGUAGE.vocabulary,
        score=partial(sentiment_gold.score, fluency=fluency),
        judges=sentiment_gold.JUDGES,
        write=lambda generator, prompts: [Response(sentiment_reviews.write(generator, prompt)) for prompt in prompts],
        reward_probes=sentiment_twins.TWINS,
        typical_tokens=_typical_tokens(),
    )


def _written(generator: np.random.Generator, n: int, split: str, references: int = 1) -> list[Demonstration]:
    """Returns n fresh prefixes of the split, no two alike, with continuations by writers of their own."""
    rows: dict[str, tuple[str, ...]] = {}
    while len(rows) < n:  # each written as it is drawn, so that a split cut short is the beginning of the whole one
        if (prefix := sentiment_reviews.draw(generator, split)) not in rows:
            rows[prefix] = tuple(sentiment_reviews.write(generator, prefix) for _ in range(references))
    return [Demonstration(prefix, responses) for prefix, responses in rows.items()]


def _typical_tokens() -> tuple[float, float]:
    """Returns mean tokens of 128 training prefixes (BOS included) and of their continuations (EOS included), one fixed draw."""
    rows = _written(np.random.default_rng(0), 128, "train")
    responses = [response for row in rows for response in row.responses]
    return float(np.mean([len(row.prompt.split()) + 1 for row in rows])), float(np.mean([len(text.split()) + 1 for text in responses]))


def _from_reviews(place: str, limit: int | None) -> Task:
    """Returns the task made of real reviews; two classifiers fitted on reviews that nothing else sees score and judge."""
    parts, name, counts, digest = reviews.read(place, limit)
    rows, tuning, evaluation = (reviews.demonstrations(parts[name]) for name in ("train", "tuning", "evaluation"))
    if not (rows and tuning and evaluation and parts["judge"] and parts["second"]):
        raise HarnessError(f"the data '{place}' has too few usable reviews, a split is left empty: {counts}")
    fitted = {name: classifier.fitted(parts[part]) for name, part in {"gold": "judge", "second": "second"}.items()}
    right = {name: classifier.accuracy(each, parts["evaluation"]) for name, each in fitted.items()}
    order, prompts = splits.epochs(len(rows)), splits.epochs(len(rows))

    def score(prompts: Sequence[str], responses: Sequence[Response]) -> dict[str, Array]:
        return {name: classifier.log_odds(each, [response.text for response in responses]) for name, each in fitted.items()}

    code = language.version(__file__, "sentiment", recorded.__file__, reviews.__file__, classifier.__file__)
    return Task(
        name="sentiment",
        version=f"{code}-{digest[:8]}",
        source=name,
        demonstrations=lambda generator, n: [rows[index] for index in order(generator, n)],
        training_prompts=lambda generator, n: [rows[index].prompt for index in prompts(generator, n)],
        tuning=tuning,
        evaluation=evaluation,
        defaults=recorded.defaults(ALGORITHMS, PAIRS, len(rows)),
        max_prompt_tokens=32,
        max_response_tokens=64,
        score=score,
        judges=("gold", "second"),
        reward_probes=TWINS,
        typical_tokens=sources.estimated_tokens(rows),
        notes=(
            f"{counts}; split by the hash of the prefix: {len(rows)} training and {len(evaluation)} evaluation prefixes",
            f"gold is the log-odds of a naive Bayes classifier of words fitted on {len(parts['judge'])} reviews, `second` one fitted on "
            f"{len(parts['second'])} others; they name the sign of {right['gold']:.0%} and {right['second']:.0%} of the "
            f"{len(parts['evaluation'])} evaluation reviews' continuations, and know nothing of grammar",
        ),
    )
