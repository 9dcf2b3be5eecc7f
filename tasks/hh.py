"""Dialogues with an assistant, helpful and accurate: an embedded helpline world, or HH-RLHF dialogues from a file (Bai et al. 2022)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal, cast

import numpy as np

from harness.data.lazy import Lazy
from harness.errors import HarnessError
from harness.types import Defaults, Demonstration, Response, Task
from tasks import recorded
from tasks.worlds import hh_gold, hh_safety, language
from tasks.worlds.hh_dialogues import KINDS, LANGUAGE, draw, read
from tasks.worlds.hh_twins import TWINS
from tasks.worlds.hh_writer import write
from tasks.worlds.tldr_language import pick_weighted

DESCRIPTION = "dialogues: an embedded helpline where helpful and accurate are in conflict, with safety probes, or HH-RLHF files"
ALIASES = ("hh_rlhf",)
ALGORITHMS = ("dpo", "ipo", "kto", "dpop", "ppo", "sft_chosen")
EVALUATION, TUNING, PROBES = 512, 256, 512
WORLD_SHARE: float = LANGUAGE.table["mix"]["harmful"]
ASKING = "\n\nHuman:"  # how the human's turn opens in a recorded dialogue
NOTES = (
    "this is a trial on recorded dialogues: few rows and one judge, so it shows that the path works and ranks nothing",
    "win rates are those of a reward model fitted on the judge pairs, not of people; there is no gold reward and no safety probe",
)
SPLIT_STREAMS = 7001  # a first seed that no training stream has, so that a fixed split never repeats one


def task(
    source: str | Path | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    safety_demonstrations: float = WORLD_SHARE,
    safety_pairs: float = 0.0,
    subset: Literal["all", "helpful", "harmless"] = "all",
    turns: int = 0,
) -> Task:
    """Returns the embedded task (``source`` None or "embedded"), or the task made of the dialogues in a file or in a folder of HH's layout.

    ``limit`` caps the rows of every fixed split (embedded) or of each file. ``seed`` draws the embedded world's fixed splits; a file's
    depend on its text alone. ``safety_demonstrations`` is the share of harmful requests among the embedded demonstrations,
    ``safety_pairs`` that of pairs in which a refusal of a harmful request is preferred to compliance. Of recorded dialogues ``subset``
    takes the folders whose names begin so, and ``turns`` those in which the human speaks at most so often; 0 takes all.
    """
    for name, share in {"safety_demonstrations": safety_demonstrations, "safety_pairs": safety_pairs}.items():
        if not 0 <= share < 1:
            raise HarnessError(f"hh.{name}: {share:g} is not a share from 0 to below 1.")
    if source in (None, "embedded"):
        if (subset, turns) != ("all", 0):
            raise HarnessError("hh.subset and hh.turns are of recorded dialogues; the embedded world has no parts. Name --data as well.")
        return _embedded(limit, seed, safety_demonstrations, safety_pairs)
    if (safety_demonstrations, safety_pairs) != (WORLD_SHARE, 0.0):
        raise HarnessError("hh.safety_demonstrations and hh.safety_pairs are of the embedded world; recorded dialogues bring their own.")
    return _from_files(Path(cast(str, source)), limit, "" if subset == "all" else subset, turns)


def _embedded(limit: int | None, seed: int, safety_demonstrations: float, safety_pairs: float) -> Task:
    def fixed(stream: int, kind: str, split: str, n: int) -> list[str]:
        generator = np.random.default_rng((SPLIT_STREAMS, seed, stream))
        return [draw(generator, kind, split) for _ in range(n if limit is None else min(n, limit))]

    def referenced(stream: int, split: str, n: int) -> Lazy[Demonstration]:
        generator = np.random.default_rng((SPLIT_STREAMS, seed, stream + 10))
        return Lazy(lambda: _answered(fixed(stream, "normal", split, n), generator, 1))

    return Task(
        name="hh",
        version=language.version(__file__, "hh"),
        source="embedded",
        demonstrations=lambda generator, n: _demonstrations(generator, n, safety_demonstrations),
        training_prompts=lambda generator, n: [draw(generator, "normal", "train") for _ in range(n)],
        tuning=referenced(1, "tuning", TUNING),
        evaluation=referenced(2, "evaluation", EVALUATION),
        defaults=Defaults(algorithms=ALGORITHMS, model="tiny-128"),
        max_prompt_tokens=96,
        max_response_tokens=40,
        vocabulary=LANGUAGE.vocabulary,
        score=hh_gold.score,
        judges=hh_gold.JUDGES,
        annotators=LANGUAGE.table["annotators"],
        write=lambda generator, prompts: [Response(write(generator, read(prompt))) for prompt in prompts],
        own_pairs=partial(hh_safety.refusal_pairs, safety_pairs) if safety_pairs else None,
        probes=hh_safety.probes(
            Lazy(lambda: fixed(3, "harmful", "evaluation", PROBES)), Lazy(lambda: fixed(4, "borderline", "evaluation", PROBES))
        ),
        reward_probes=TWINS,
        typical_tokens=_typical_tokens(),
    )


def _demonstrations(generator: np.random.Generator, n: int, harmful: float = WORLD_SHARE) -> list[Demonstration]:
    """Returns n fresh training dialogues of all kinds, with three references each: the declared mix, but for the share of harmful ones."""
    rest = (1 - harmful) / (1 - WORLD_SHARE)
    mix = [harmful if kind == "harmful" else rest * LANGUAGE.table["mix"][kind] for kind in KINDS]
    return _answered([draw(generator, KINDS[pick_weighted(generator, mix)], "train") for _ in range(n)], generator, 3)


def _answered(dialogues: list[str], generator: np.random.Generator, n: int) -> list[Demonstration]:
    return [Demonstration(each, tuple(write(generator, read(each)) for _ in range(n))) for each in dialogues]


def _typical_tokens() -> tuple[float, float]:
    """Returns mean tokens of 128 training dialogues (BOS included) and of their answers (EOS included), one fixed draw."""
    rows = _demonstrations(np.random.default_rng(0), 128)
    responses = [response for row in rows for response in row.responses]
    return float(np.mean([len(row.prompt.split()) + 1 for row in rows])), float(np.mean([len(text.split()) + 1 for text in responses]))


def _from_files(path: Path, limit: int | None, subset: str, turns: int) -> Task:
    """Returns the task made of recorded dialogues: no gold reward, so a reward model fitted on ``judge_pairs`` judges; no probes."""
    found = recorded.read(path, limit=limit, subset=subset, keep=lambda row: not turns or row.prompt.count(ASKING) <= turns)
    code = language.version(__file__, "hh", recorded.__file__)
    return recorded.paired(
        found,
        name="hh",
        version=f"{code}-{found.digest[:8]}",
        algorithms=ALGORITHMS,
        notes=NOTES,
        max_prompt_tokens=512,
        max_response_tokens=128,
    )
