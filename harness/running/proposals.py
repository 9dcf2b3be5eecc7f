"""Samples that the optimal frontier is estimated from: responses of the reference to the evaluation prompts, drawn once and cached."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.measure import enumerated
from harness.measure.chance import generator_for
from harness.measure.yardstick import Yardstick
from harness.models.metered import Metered
from harness.planning.experiment import Experiment
from harness.running.stages import Shared
from harness.store.cache import stage
from harness.types import Array, Group, Response

TOGETHER = 8  # responses that share a forward of their prompt: attention inside a group grows with its square
DECIMALS = 6  # of recorded scores: beyond the judge's tie


class Drawn(NamedTuple):
    """Samples of one model, [prompt][sample], and log pi of each under that model, (prompts, samples), nats per sequence."""

    responses: list[list[Response]]
    logps: Array


def reference_samples(experiment: Experiment, both: Shared, yard: Yardstick) -> Drawn:
    """``frontier_samples`` responses of the reference to every evaluation prompt, from a generator of their own; cached."""
    key = frontier_key(experiment, both)
    path = stage("frontier", key, lambda folder: _draw(folder, both, yard, experiment.frontier_samples)) / "samples.json"
    return _read(json.loads(path.read_text()), both)


def frontier_key(experiment: Experiment, both: Shared) -> dict[str, Any]:
    """What the cache knows the reference's samples by."""
    sizes = {name: getattr(experiment, name) for name in ("evaluation_prompts", "frontier_samples")}
    return {"stage": "frontier", "version": 2, "sft": both.origin.name, "task": both.task.version, **sizes}


def sampled(experiment: Experiment, yard: Yardstick) -> bool:
    """Whether frontiers are estimated at all: for a task with a gold reward, of as many samples as are asked for, unless they are exact."""
    return yard.gold and experiment.frontier_samples > 0 and yard.choices is None


def reference_rows(experiment: Experiment, both: Shared, yard: Yardstick) -> list[dict[str, Any]]:
    """What the optimal frontier needs of the reference, a row per prompt with lists over its samples: judging scores, proxy, length.

    Empty where the task has no gold reward or no samples are asked for; of every response where they can be enumerated.
    """
    if yard.choices is not None:
        return enumerated.rows(yard)
    if not sampled(experiment, yard):
        return []
    responses = reference_samples(experiment, both, yard).responses
    columns = {name: values.reshape(len(responses), -1) for name, values in _scores(both, yard, responses).items()}
    return [
        {"mark": 0.0, "slice": "frontier", "prompt_id": index, **{name: table[index].round(DECIMALS) for name, table in columns.items()}}
        for index in range(len(responses))
    ]


def _draw(folder: Path, both: Shared, yard: Yardstick, samples: int) -> None:
    with torch.no_grad(), yard.reference.ledger.phase("evaluation"):
        drawn = draw(yard.reference, both, yard, samples, generator_for(both.seed, "frontier"))
    ids, finished = ([[getattr(r, name) for r in row] for row in drawn.responses] for name in ("ids", "finished"))
    (folder / "samples.json").write_text(json.dumps({"ids": ids, "finished": finished, "logps": drawn.logps.tolist()}))


def draw(model: Metered, both: Shared, yard: Yardstick, samples: int, generator: torch.Generator) -> Drawn:
    """``samples`` responses of a model to every evaluation prompt, at temperature 1."""
    prompts = both.tokens.prompts([d.prompt for d in yard.evaluation])
    rows = model.sample(prompts, samples=samples, max_tokens=both.tokens.max_response, generator=generator)
    responses = [[Response(both.tokens.text(s.ids), s.ids, s.finished) for s in row] for row in rows]
    return Drawn(responses, np.array([[sum(s.logps) for s in row] for row in rows], dtype=np.float64))


def _read(facts: Mapping[str, Any], both: Shared) -> Drawn:
    rows = [list(zip(ids, done, strict=True)) for ids, done in zip(facts["ids"], facts["finished"], strict=True)]
    responses = [[Response(both.tokens.text(tuple(ids)), tuple(ids), done) for ids, done in row] for row in rows]
    return Drawn(responses, np.array(facts["logps"], dtype=np.float64))


def _scores(both: Shared, yard: Yardstick, responses: Sequence[Sequence[Response]]) -> dict[str, Array]:
    """Judging scores, proxy and length of every response, flat (prompts x samples,)."""
    found = judged(yard, responses)
    if yard.proxy is not None:
        groups = grouped(both.tokens.prompts([d.prompt for d in yard.evaluation]), responses)
        found["proxy"] = yard.proxy.scores(groups).double().cpu().numpy()
    return found | {"length": np.array([len(r.ids) - r.finished for row in responses for r in row], dtype=np.float64)}


def judged(yard: Yardstick, responses: Sequence[Sequence[Response]]) -> dict[str, Array]:
    """Every judging column of a task with gold, which reads texts alone; flat (prompts x samples,)."""
    texts = [d.prompt for d, row in zip(yard.evaluation, responses, strict=True) for _ in row]
    scores = yard.judge.score(texts, [], [r for row in responses for r in row])
    return {name: np.asarray(scores[name], dtype=np.float64) for name in yard.judge.names}


def log_probs(model: Metered, prompts: Sequence[tuple[int, ...]], responses: Sequence[Sequence[Response]]) -> Array:
    """Log pi of as many responses to every prompt, (prompts, samples), nats; each prompt is read once for all of them."""
    whole = [Group(prompt, tuple(r.ids for r in row)) for prompt, row in zip(prompts, responses, strict=True)]

    def score(model: Metered, part: slice) -> Array:
        groups, past = grouped(prompts[part], responses[part]), model.read(prompts[part], 0)
        found = model.logps(groups, past and past.repeated(len(groups) // max(1, len(prompts[part]))))
        return found.double().cpu().numpy().reshape(len(prompts[part]), -1)

    return np.concatenate(model.in_parts(whole, score))


def grouped(prompts: Sequence[tuple[int, ...]], responses: Sequence[Sequence[Response]]) -> list[Group]:
    """The responses of each prompt in groups of a few, in order: flat scores of the groups are flat scores of the responses."""
    return [
        Group(prompt, tuple(r.ids for r in row[start : start + TOGETHER]))
        for prompt, row in zip(prompts, responses, strict=True)
        for start in range(0, len(row), TOGETHER)
    ]
