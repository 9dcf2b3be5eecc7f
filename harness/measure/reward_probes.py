"""What a record says of a reward model that an algorithm fitted: held-out quality, and how its score moves where nothing gets better."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from harness.data.pairs import prompts_of
from harness.measure.statistics import prompt_interval
from harness.measure.yardstick import Yardstick
from harness.training.reward import RewardModel, heldout_quality, margins, pair_group
from harness.types import Array, Group, Response, Twin


def inspect(reward: RewardModel, yard: Yardstick) -> dict[str, Any]:
    """Held-out quality, accuracy and log loss (nats) with intervals over the pairs' prompts, and ``reward_probes``; charged to evaluation.

    A probe scores frozen samples of the SFT reference and a twin of each: ``score`` is the mean change in nats, ``judge`` that of the
    primary judge, each ``{value, lower, upper, n}`` over prompts. A twin that fits no sample is left out.
    """
    with torch.no_grad(), reward.model.ledger.phase("evaluation"):
        twins = {name: found for name, twin in yard.twins.items() if (found := _change(reward, yard, name, twin))}
        probes = {"pooling": reward.pooling, "judge": yard.judge.primary, "twins": twins}
        return {**_quality(reward, yard), **({"reward_probes": probes} if twins else {})}


def _quality(reward: RewardModel, yard: Yardstick) -> dict[str, Any]:
    if not yard.heldout:
        return {}
    if yard.heldout[0].single:
        return dict(heldout_quality(reward, yard.heldout))
    gap = margins(reward.scores([pair_group(pair) for pair in yard.heldout])).double().cpu()
    right = (gap > 0).double() + 0.5 * (gap == 0).double()
    asked, loss = prompts_of(yard.heldout), -logsigmoid(gap)
    sure = {"reward_accuracy": _interval("accuracy", right.numpy(), asked), "reward_log_loss": _interval("loss", loss.numpy(), asked)}
    return {**heldout_quality(reward, yard.heldout), **sure}


def _change(reward: RewardModel, yard: Yardstick, name: str, twin: Twin) -> dict[str, Any]:
    """The changes that one kind of twin makes, empty where no finished sample has such a twin."""
    samples = [(d.prompt, row[0].text) for d, row in zip(yard.evaluation, yard.opponents, strict=True) if row[0].finished]
    made = [(prompt, text, twin(prompt, text)) for prompt, text in samples]
    rows = [(prompt, Response(text), Response(other)) for prompt, text, other in made if other is not None]
    if not rows:
        return {}
    groups = yard.tokens.groups([row[0] for row in rows], [row[1:] for row in rows])
    scores = reward.scores(groups).double().cpu().numpy().reshape(-1, 2)
    judged = _judged(yard, [row[0] for row in rows], groups, [row[1:] for row in rows])
    return {key: _interval(f"{name} {key}", values[:, 1] - values[:, 0]) for key, values in (("score", scores), ("judge", judged))}


def _judged(yard: Yardstick, prompts: Sequence[str], groups: Sequence[Group], responses: Sequence[Sequence[Response]]) -> Array:
    """The primary judge's scores, (prompts, responses)."""
    singles = [Group(group.prompt, (ids,)) for group in groups for ids in group.responses]
    texts = [prompt for prompt, row in zip(prompts, responses, strict=True) for _ in row]
    found: Array = yard.judge.score(texts, singles, [each for row in responses for each in row])[yard.judge.primary]
    return found.reshape(len(prompts), -1)


def _interval(name: str, values: Array, prompts: Sequence[int] | None = None) -> dict[str, Any]:
    """The mean over prompts as a record holds it; without ``prompts`` every value is of a prompt of its own."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
    return prompt_interval(values, clusters=prompts, generator=np.random.default_rng(seed))._asdict()
