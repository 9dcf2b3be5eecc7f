"""Samples that the optimal frontier is estimated from: responses of the reference to the evaluation prompts, drawn once and cached."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.experiment import Experiment
from harness.measure.evaluate import Yardstick, generator_for
from harness.stages import Shared
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
    sizes = {name: getattr(experiment, name) for name in ("evaluation_prompts", "frontier_samples")}
    key = {"stage": "frontier", "version": 1, "sft": both.sft.name, "task": both.task.version, **sizes}
    path = stage("frontier", key, lambda folder: _draw(folder, both, yard, experiment.frontier_samples)) / "samples.json"
    return _read(json.loads(path.read_text()), both)


def reference_rows(experiment: Experiment, both: Shared, yard: Yardstick) -> list[dict[str, Any]]:
    """What the optimal frontier needs of the reference, a row per prompt with lists over its samples: judging scores, proxy, length.

    Empty where the task has no gold reward or no samples are asked for.
    """
    if not yard.gold or not experiment.frontier_samples:
        return []
    responses = reference_samples(experiment, both, yard).responses
    columns = {name: values.reshape(len(responses), -1) for name, values in _scores(both, yard, responses).items()}
    return [
        {"mark": 0.0, "slice": "frontier", "prompt_id": index, **{name: table[index].round(DECIMALS) for name, table in columns.items()}}
        for index in range(len(responses))
    ]


def _draw(folder: Path, both: Shared, yard: Yardstick, samples: int) -> None:
    prompts = both.tokens.prompts([d.prompt for d in yard.evaluation])
    generator = generator_for(both.seed, "frontier")
    with torch.no_grad(), yard.reference.ledger.phase("evaluation"):
        rows = yard.reference.sample(prompts, samples=samples, max_tokens=both.tokens.max_response, generator=generator)
    ids, finished = [[s.ids for s in row] for row in rows], [[s.finished for s in row] for row in rows]
    facts = {"ids": ids, "finished": finished, "logps": [[sum(s.logps) for s in row] for row in rows]}
    (folder / "samples.json").write_text(json.dumps(facts))


def _read(facts: Mapping[str, Any], both: Shared) -> Drawn:
    rows = [list(zip(ids, done, strict=True)) for ids, done in zip(facts["ids"], facts["finished"], strict=True)]
    responses = [[Response(both.tokens.text(tuple(ids)), tuple(ids), done) for ids, done in row] for row in rows]
    return Drawn(responses, np.array(facts["logps"], dtype=np.float64))


def _scores(both: Shared, yard: Yardstick, responses: Sequence[Sequence[Response]]) -> dict[str, Array]:
    """Judging scores, proxy and length of every response, flat (prompts x samples,)."""
    prompts = [d.prompt for d in yard.evaluation]
    flat = [r for row in responses for r in row]
    texts = [p for p, row in zip(prompts, responses, strict=True) for _ in row]
    judged = yard.judge.score(texts, [], flat)  # a gold reward reads texts alone
    found = {name: np.asarray(judged[name], dtype=np.float64) for name in yard.judge.names}
    if yard.proxy is not None:
        found["proxy"] = yard.proxy.scores(grouped(both.tokens.prompts(prompts), responses)).double().cpu().numpy()
    return found | {"length": np.array([len(r.ids) - r.finished for r in flat], dtype=np.float64)}


def grouped(prompts: Sequence[tuple[int, ...]], responses: Sequence[Sequence[Response]]) -> list[Group]:
    """The responses of each prompt in groups of a few, in order: flat scores of the groups are flat scores of the responses."""
    return [
        Group(prompt, tuple(r.ids for r in row[start : start + TOGETHER]))
        for prompt, row in zip(prompts, responses, strict=True)
        for start in range(0, len(row), TOGETHER)
    ]
