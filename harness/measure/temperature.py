"""A policy at other temperatures than 1: how often it wins when it decodes greedily, or nearly so.

There is no KL here: the KL of a report is that of the distribution at temperature 1, and a win rate at another temperature is one of
another distribution (Rafailov et al. 2023, arXiv 2305.18290, Figure 2 right, draws such win rates against temperature).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from harness.measure.chance import generator_for, intervals
from harness.measure.evaluate import Measurement, Row, constant_alarm, judged, texts
from harness.measure.yardstick import Yardstick
from harness.models.metered import Metered
from harness.models.packing import Past
from harness.types import Group, Response


def measure_at(policy: Metered, yard: Yardstick, temperature: float, *, prompts: int, past: Past | None = None) -> Measurement:
    """Answer each of the first ``prompts`` evaluation prompts once at ``temperature`` (0: greedy) and judge as at temperature 1.

    ``past`` are these prompts where the policy has read them. The opponents are the same frozen samples, drawn at temperature 1. Rows
    hold win and tie shares, scores, length, EOS and repetition.
    """
    with torch.no_grad(), policy.ledger.phase("evaluation"):
        demonstrations = yard.evaluation[:prompts]
        ids = yard.prompts[:prompts]
        generator = generator_for(yard.seed, "temperature", temperature)
        drawn = policy.sample(ids, max_tokens=yard.tokens.max_response, temperature=temperature, generator=generator, past=past)
        samples = [row[0] for row in drawn]
        groups = [Group(p, (s.ids,)) for p, s in zip(ids, samples, strict=True)]
        responses = [Response(yard.tokens.text(s.ids), s.ids, s.finished) for s in samples]
        columns = {**judged(replace(yard, proxy=None, tuner=None), demonstrations, groups, responses), **texts(responses, samples)}
    rows: list[Row] = [
        {"temperature": temperature, "prompt_id": index, "response": response.text, "finished": response.finished}
        | {name: float(values[index]) for name, values in columns.items()}
        for index, response in enumerate(responses)
    ]
    return Measurement(intervals(columns), rows, [alarm for alarm in (constant_alarm(responses),) if alarm])
