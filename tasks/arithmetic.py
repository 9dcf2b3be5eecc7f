"""Modular arithmetic, the work shown: a verifiable task, whose reward is a check and no opinion (Lambert et al. 2024, arXiv 2411.15124)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.data.lazy import Lazy
from harness.errors import HarnessError
from harness.types import Array, Defaults, Demonstration, Response, Task
from tasks.worlds import arithmetic_sums as sums
from tasks.worlds import language

DESCRIPTION = "modular arithmetic with the work shown, checked by a verifier: pass@1 and pass@k; embedded"
ALGORITHMS = ("dpo", "ipo", "kto", "dpop", "ppo", "sft_chosen")
EVALUATION, TUNING = 384, 256
SPLIT_STREAM = 7002  # a first seed that no training stream has, so that a fixed split never repeats one
AGREEMENT = 0.8  # a third of the pairs of the reference's samples earn the same: no annotator sides with the better one in more than .84
FORMAT, STEP = 0.2, 0.1  # of a reward whose right answer is 1: the format alone, and every step that follows


def task(source: str | Path | None = None, *, limit: int | None = None, seed: int = 0) -> Task:
    """Returns the embedded task, the only one there is. ``limit`` caps the fixed splits, ``seed`` draws them."""
    if source not in (None, "embedded"):
        raise HarnessError(f"task arithmetic makes its own questions; it cannot read '{source}'.")

    def fixed(stream: int, split: str, n: int) -> Lazy[Demonstration]:
        return Lazy(lambda: _written(np.random.default_rng((SPLIT_STREAM, seed, stream)), n if limit is None else min(n, limit), split))

    return Task(
        name="arithmetic",
        version=language.version(__file__, "arithmetic"),
        source="embedded",
        demonstrations=lambda generator, n: [_demonstration(generator, sums.draw(generator, "train"), 3) for _ in range(n)],
        training_prompts=lambda generator, n: [sums.draw(generator, "train").text for _ in range(n)],
        tuning=fixed(1, "tuning", TUNING),
        evaluation=fixed(2, "evaluation", EVALUATION),
        defaults=Defaults(algorithms=ALGORITHMS, model="tiny-128", agreement=AGREEMENT, probe_prompts=0),
        max_prompt_tokens=16,
        max_response_tokens=24,
        vocabulary=sums.VOCABULARY,
        score=score,
        judges=("gold", "verified"),
        write=lambda generator, prompts: [Response(sums.write(generator, sums.read(prompt))) for prompt in prompts],
        typical_tokens=_typical_tokens(),
        verified="verified",
    )


def score(prompts: Sequence[str], responses: Sequence[Response]) -> dict[str, Array]:
    """Returns ``gold`` and what it is made of, (responses,) each: 1 for what is verified, .2 for the format, .1 for every right step."""
    rows = [sums.check(sums.read(prompt), r.text, finished=r.finished) for prompt, r in zip(prompts, responses, strict=True)]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
    verified, formatted, steps = table.T
    length = np.array([len(response.text.split()) for response in responses], dtype=np.float64)
    gold = verified + FORMAT * formatted + STEP * steps
    return {"gold": gold, "verified": verified, "formatted": formatted, "steps": steps, "length": length}


def _demonstration(generator: np.random.Generator, question: sums.Question, writers: int) -> Demonstration:
    return Demonstration(question.text, tuple(sums.write(generator, question) for _ in range(writers)))


def _written(generator: np.random.Generator, n: int, split: str) -> list[Demonstration]:
    """Returns n questions of a split, no two alike, each answered by one writer."""
    rows: dict[str, Demonstration] = {}
    while len(rows) < n:
        question = sums.draw(generator, split)
        rows.setdefault(question.text, _demonstration(generator, question, 1))
    return list(rows.values())


def _typical_tokens() -> tuple[float, float]:
    """Returns tokens of a question (BOS included) and the mean of 128 answers (EOS included)."""
    generator = np.random.default_rng(0)
    rows = [_demonstration(generator, sums.draw(generator, "train"), 1) for _ in range(128)]
    return len(rows[0].prompt.split()) + 1.0, float(np.mean([len(row.responses[0].split()) + 1 for row in rows]))
