"""A bandit with contexts: a few prompts, a few responses of one word, a known reward; nothing about a policy has to be estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.data.lazy import Lazy
from harness.errors import HarnessError
from harness.types import Array, Choices, Defaults, Demonstration, Response, Task
from tasks.worlds import bandit_arms as arms
from tasks.worlds import language

DESCRIPTION = "a bandit whose responses can be enumerated and whose reward is known: exact optima, frontiers and policies; embedded"
ALGORITHMS = ("dpo", "ipo", "kto", "dpop", "ppo")
PAIRS = 2000  # of finite data
ON_POLICY = {"value_learning_rate": 0.15, "iterations": 60, "minibatches": 1}
# A table bears rates far above those of language models, and a response is one token, so that none ends in EOS.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "*": {"learning_rate": 0.1, "missing_eos_penalty": 0.0, "reward_learning_rate": 0.1, "reward_epochs": 20.0},
    "dpo": {"beta": (0.5, 1.0, 3.0)},
    "ipo": {"target_gap": (5.0, 2.0, 0.5)},
    "kto": {"beta": (0.5, 1.0, 3.0)},
    "dpop": {"beta": 1.0, "penalty": (0.1, 1.0, 10.0)},
    "ppo": {"kl_coef": (0.5, 1.0, 3.0), **ON_POLICY},
    "ppo_gold": {"kl_coef": (0.5, 1.0, 3.0), **ON_POLICY},
}


def task(
    source: str | Path | None = None,
    *,
    prompts: int = 16,
    responses: int = 5,
    world: int = 0,
    labels: Literal["population", "bt", "deterministic", "noisy"] = "population",
    flipped: float = 0.2,
    coverage: float = 1.0,
) -> Task:
    """Returns the embedded task, the only one there is: ``prompts`` x ``responses`` rewards drawn from the seed ``world``.

    ``labels`` say what training pairs are: ``population``, every ordered pair weighted by how likely the reference is to give both and a
    Bradley-Terry annotator to say so; or a sample of pairs labelled once each, by such annotators (``bt``), by the reward
    (``deterministic``), or by it with a share ``flipped`` of labels turned round (``noisy``). ``coverage`` is the share of each prompt's
    responses, the likeliest, that is ever compared.
    """
    if source not in (None, "embedded"):
        raise HarnessError(f"task bandit draws its own world; it cannot read '{source}'.")
    known = arms.Bandit(prompts, responses, world)
    return _task(known, arms.Data(labels, flipped, coverage))


def _task(known: arms.Bandit, data: arms.Data) -> Task:
    everybody = Lazy(lambda: [Demonstration(x, (y,)) for x, y in zip(known.prompts, known.likeliest, strict=True)])
    whole = data.labels == "population"
    return Task(
        name="bandit",
        version=language.version(__file__, "bandit"),
        source="embedded",
        demonstrations=lambda generator, n: [Demonstration(x, (y,)) for x, y in known.written(generator, n)],
        training_prompts=lambda generator, n: [known.prompts[k] for k in generator.integers(len(known.prompts), size=n)],
        tuning=everybody,
        evaluation=everybody,
        defaults=_defaults(known, data, whole=whole),
        max_prompt_tokens=2,
        max_response_tokens=1,
        vocabulary=(*language.SPECIAL, *known.prompts, *known.responses),
        score=partial(score, known),
        choices=Choices(known.prompts, known.responses, partial(arms.pairs, known, data), data.most(known), whole),
        heldout_pairs=Lazy(lambda: arms.ordered(known)),
        typical_tokens=(2.0, 1.0),
        notes=("prompts of training, tuning and evaluation are the same: a bandit has no others",),
    )


def _defaults(known: arms.Bandit, data: arms.Data, *, whole: bool) -> Defaults:
    """Returns full batches of the population, or usual ones of finite data; every size is that of the world."""
    n = len(known.prompts)
    size = data.most(known)
    return Defaults(
        algorithms=ALGORITHMS,
        model="table",
        budget="80epochs" if whole else "4epochs",
        pairs=size if whole else PAIRS,
        sft_steps=150,
        sft_batch=64,
        sft_learning_rate=0.05,
        batch_pairs=size if whole else 64,
        evaluation_prompts=n,
        mark_prompts=n,
        tuning_prompts=n,
        probe_prompts=0,
        frontier_samples=0,
        seeds=2,
        settings=SETTINGS,
    )


def score(known: arms.Bandit, prompts: Sequence[str], responses: Sequence[Response]) -> dict[str, Array]:
    """Returns ``gold``, the known reward in nats, (responses,); what is no response earns less than the worst of its prompt by 1."""
    return {"gold": np.array([known.reward_of(p, r.text) for p, r in zip(prompts, responses, strict=True)], dtype=np.float64)}
