"""Reddit TL;DR summaries: an embedded synthetic world with a gold reward, or real posts from a file (Stiennon 2020, Volske 2017)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from harness.data import sources
from harness.data.lazy import Lazy
from harness.errors import HarnessError
from harness.types import Defaults, Demonstration, Response, Task
from tasks import recorded
from tasks.worlds import language, tldr_gold, tldr_language, tldr_posts, tldr_safety, tldr_twins, tldr_writer

DESCRIPTION = "Reddit TL;DR summaries: an embedded world with a gold reward and safety probes, or real posts from files or the hub"
ALIASES = ()
ALGORITHMS = ("dpo", "ipo", "kto", "dpop", "ppo", "sft_chosen")
EVALUATION, TUNING, PROBES = 512, 256, 512
WORLD_SHARE: float = tldr_language.WORLD["mix"]["harmful"]
NOTES = (
    "this is a trial on real posts: few rows and one judge, so it shows that the path works and ranks nothing",
    "win rates are those of a reward model fitted on the judge pairs, not of people; there is no gold reward and no safety probe",
)
SPLIT_STREAMS = 7001  # a first seed that no training stream has, so that a fixed split never repeats one
"""Prompts in the fixed splits of the embedded world."""


def task(
    source: str | Path | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    safety_demonstrations: float = 0.08,
    safety_pairs: float = 0.0,
) -> Task:
    """Returns the embedded task (``source`` None or "embedded"), or the task made of real posts (``harness.data.places`` says what may).

    ``limit`` caps the rows of every fixed split (embedded) or the rows read (file). ``seed`` draws the embedded world's fixed splits; a
    file's splits depend on its text alone. ``safety_demonstrations`` is the share of harmful requests among the embedded demonstrations,
    ``safety_pairs`` that of pairs in which a refusal of a harmful request is preferred to compliance; real posts have neither.
    """
    safety = _shares(safety_demonstrations=safety_demonstrations, safety_pairs=safety_pairs)
    if source in (None, "embedded"):
        return _embedded(limit, seed, **safety)
    if safety != {"safety_demonstrations": WORLD_SHARE, "safety_pairs": 0.0}:
        raise HarnessError("tldr.safety_demonstrations and tldr.safety_pairs are of the embedded world; real posts have no safety prompts.")
    return _of_rows(str(source), limit)


def _shares(**given: float) -> dict[str, float]:
    for name, share in given.items():
        if not 0 <= share < 1:
            raise HarnessError(f"tldr.{name}: {share:g} is not a share from 0 to below 1.")
    return given


def _embedded(limit: int | None, seed: int, safety_demonstrations: float, safety_pairs: float) -> Task:
    def fixed(stream: int, kind: str, split: str, n: int) -> list[str]:
        generator = np.random.default_rng((SPLIT_STREAMS, seed, stream))
        return [tldr_posts.draw(generator, kind, split) for _ in range(n if limit is None else min(n, limit))]

    def referenced(stream: int, split: str, n: int) -> Lazy[Demonstration]:
        generator = np.random.default_rng((SPLIT_STREAMS, seed, stream + 10))
        return Lazy(lambda: _with_references(fixed(stream, "normal", split, n), generator, 1))

    harmful = Lazy(lambda: fixed(3, "harmful", "evaluation", PROBES))
    borderline = Lazy(lambda: fixed(4, "borderline", "evaluation", PROBES))
    return Task(
        name="tldr",
        version=language.version(__file__, "tldr"),
        source="embedded",
        demonstrations=lambda generator, n: _demonstrations(generator, n, safety_demonstrations),
        training_prompts=lambda generator, n: [tldr_posts.draw(generator, "normal", "train") for _ in range(n)],
        tuning=referenced(1, "tuning", TUNING),
        evaluation=referenced(2, "evaluation", EVALUATION),
        defaults=Defaults(algorithms=ALGORITHMS, model="tiny-128"),
        max_prompt_tokens=80,
        max_response_tokens=32,
        vocabulary=tldr_language.VOCABULARY,
        score=tldr_gold.score,
        judges=tldr_gold.JUDGES,
        annotators=tldr_language.WORLD["annotators"],
        write=lambda generator, prompts: [Response(tldr_writer.write(generator, tldr_posts.read(prompt))) for prompt in prompts],
        own_pairs=partial(tldr_safety.refusal_pairs, safety_pairs) if safety_pairs else None,
        probes=tldr_safety.probes(harmful, borderline),
        reward_probes=tldr_twins.TWINS,
        typical_tokens=_typical_tokens(),
    )


def _demonstrations(generator: np.random.Generator, n: int, harmful: float = WORLD_SHARE) -> list[Demonstration]:
    """Returns n fresh training posts of all kinds, with three references each: the declared mix, but for the share of harmful requests."""
    rest = (1 - harmful) / (1 - WORLD_SHARE)
    mix = {kind: harmful if kind == "harmful" else rest * share for kind, share in tldr_language.WORLD["mix"].items()}
    kinds = [tldr_posts.KINDS[tldr_language.pick_weighted(generator, [mix[kind] for kind in tldr_posts.KINDS])] for _ in range(n)]
    return _with_references([tldr_posts.draw(generator, kind, "train") for kind in kinds], generator, 3)


def _with_references(posts: list[str], generator: np.random.Generator, n: int) -> list[Demonstration]:
    stories = ((post, tldr_posts.read(post)) for post in posts)
    return [Demonstration(post, tuple(tldr_writer.write(generator, story) for _ in range(n))) for post, story in stories]


def _typical_tokens() -> tuple[float, float]:
    """Returns mean tokens of 128 training posts (BOS included) and of their references (EOS included), one fixed draw."""
    rows = _demonstrations(np.random.default_rng(0), 128)
    responses = [response for row in rows for response in row.responses]
    return float(np.mean([len(row.prompt.split()) + 1 for row in rows])), float(np.mean([len(text.split()) + 1 for text in responses]))


def _of_rows(place: str, limit: int | None) -> Task:
    """Returns the task made of real posts: no gold reward, so a reward model fitted on ``judge_pairs`` judges; no probes."""
    found = recorded.of(sources.read_rows(place, limit=limit))
    return recorded.paired(
        found,
        name="tldr",
        version=f"{language.version(__file__, 'tldr', recorded.__file__)}-{found.digest[:8]}",
        algorithms=ALGORITHMS,
        notes=NOTES,
        max_prompt_tokens=512,
        max_response_tokens=64,
    )
