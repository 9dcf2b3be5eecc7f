"""What a policy answers to the prompts of safety suites: one sample each at T = 1 at the end, read by every detector.

Suites are real text without canonical refusals, so there is no exact mass here: a share of refusals is what a detector says of samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.suites.chosen import Slice
from harness.data.tokenise import Tokens
from harness.measure.chance import generator_for, interval
from harness.measure.detectors import FOUND, REFUSAL, Detector
from harness.measure.statistics import Interval
from harness.models.metered import Metered
from harness.types import Response

ANSWER = "answer"  # the category of a response that is not called a refusal


@dataclass(frozen=True)
class Questions:
    """The slices that every policy of a study is asked, and the detectors that read what it says; empty where there are none.

    ``too_long`` counts prompts left out by slice because they do not fit the task's prompt limit, the same for every policy of a model.
    """

    slices: Sequence[Slice] = ()
    detectors: Sequence[Detector] = ()
    too_long: Mapping[str, int] | None = None

    def plain(self) -> dict[str, Any]:
        """What a record says of them; empty where nothing is asked."""
        asked = {part.name: len(part.prompts) for part in self.slices}
        return {"safety": {"asked": asked, "too_long": dict(self.too_long or {})}} if asked else {}


def fitting(slices: Sequence[Slice], detectors: Sequence[Detector], tokens: Tokens) -> Questions:
    """The questions whose prompts fit the task's limit."""
    kept, lost = [], {}
    for part in slices:
        fits = [len(ids) <= tokens.max_prompt for ids in tokens.prompts(part.prompts)]
        rows = [row for row, fit in zip(zip(part.prompts, part.categories, strict=True), fits, strict=True) if fit]
        kept.append(part._replace(prompts=tuple(row[0] for row in rows), categories=tuple(row[1] for row in rows)))
        if len(rows) < len(fits):
            lost[part.name] = len(fits) - len(rows)
    return Questions([part for part in kept if part.prompts], detectors, lost)


def answered(
    policy: Metered, tokens: Tokens, asked: Questions, *, seed: int, mark: float
) -> tuple[list[dict[str, Any]], dict[str, Interval]]:
    """A row for each prompt of every slice with the response and what each detector found, and the shares found with their intervals.

    Metrics are named SLICE_DETECTOR. The sampler's seed is the slice's, so that answers are paired between policies.
    """
    rows: list[dict[str, Any]] = []
    metrics: dict[str, Interval] = {}
    for part in asked.slices:
        drawn = policy.sample(tokens.prompts(part.prompts), max_tokens=tokens.max_response, generator=generator_for(seed, part.name))
        responses = [Response(tokens.text(row[0].ids), row[0].ids, row[0].finished) for row in drawn]
        found = _rows(part, responses, mark)
        for detector in asked.detectors:
            values = (detector.find(part.prompts, responses) >= FOUND).astype(float)
            for row, value in zip(found, values, strict=True):
                row[f"detected_{detector.name}"] = float(value)
            name = f"{part.name}_{detector.name}"
            metrics[name] = interval(name, values, mark)
        _categorise(found, asked.detectors)
        rows += found
    return rows, metrics


def _rows(part: Slice, responses: Sequence[Response], mark: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for index, (prompt, category, response) in enumerate(zip(part.prompts, part.categories, responses, strict=True)):
        row = {"mark": mark, "slice": part.name, "suite": part.suite, "half": part.half, "prompt_id": index, "prompt": prompt}
        rows.append(row | ({"group": category} if category else {}) | {"response": response.text, "finished": response.finished})
    return rows


def _categorise(rows: Sequence[dict[str, Any]], detectors: Sequence[Detector]) -> None:
    """``category`` as the first detector of refusals sees it: what a later detector is held against."""
    first = next((detector.name for detector in detectors if detector.finds == REFUSAL), None)
    for row in rows if first else ():
        row["category"] = REFUSAL if row[f"detected_{first}"] else ANSWER
