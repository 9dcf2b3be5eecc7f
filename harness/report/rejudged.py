"""What judges and detectors said later of stored samples, gathered from beside the records and held against what the records say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from harness.measure.agreement import Agreement, agreement
from harness.measure.statistics import Array, Interval, two_way_interval
from harness.measure.verdicts import Verdict, verdict
from harness.report import silence
from harness.report.escape import deeply
from harness.report.points import Loaded, Point, resampler
from harness.report.safety import margin_of
from harness.report.safety_metrics import BENIGN, HARMFUL, REFUSAL, direction
from harness.store import judgements
from harness.store.judgements import Judgement
from harness.store.records import Cell, Row

RECORDED, AGAIN, FORWARD, BACKWARD = 0, 1, 2, 3
LEAST, MOST = 1, 2  # of the answers in ``tables``
Values = Mapping[
    int, tuple[float, ...]
]  # by prompt: the recorded answer, the new one, and where order was asked both of its answers; NaN: no verdict


class Again(NamedTuple):
    """One judge or detector over a study: its ``facts``, and for each run what the record and it say, by prompt."""

    key: str
    facts: Mapping[str, Any]
    runs: Mapping[Cell, Values]

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.facts.get("name", self.key))


class Quality(NamedTuple):
    """How a judge agrees with the recorded one, over ``records`` of ``of``; consistency and position are None where it was asked one
    way round.

    All is said of the comparisons to which it gave a verdict, both ways round where it was asked so; ``silent`` is the share of others.
    """

    agreement: Agreement | None
    records: int
    of: int
    silent: Interval | None = None
    silences: int = 0
    comparisons: int = 0
    ties: tuple[Interval, Interval] | None = None
    consistency: Interval | None = None
    position: Interval | None = None


def judges(study: Loaded) -> list[Again]:
    """Every later judge of a study, by name, with the comparisons that both it and the record decided."""
    return sorted(_gathered(study, "judge", _outcomes), key=lambda each: each.key)


def detectors(study: Loaded) -> list[Again]:
    """Every later detector of a study, by suite and name: the recorded answer is 1 where the record calls a response a refusal."""
    return sorted(_gathered(study, "detector", _detected), key=lambda each: each.key)


def _gathered(study: Loaded, kind: str, values: Any) -> Iterator[Again]:
    """Judgements of one kind by key."""
    found: dict[str, tuple[Mapping[str, Any], dict[Cell, Values]]] = {}
    for cell in _runs(study):
        for key, each in judgements.read(cell.folder).items():
            if each.facts.get("kind") == kind and (both := values(cell, each)):
                found.setdefault(key, (deeply(each.facts), {}))[1][cell] = both
    return (Again(key, facts, runs) for key, (facts, runs) in found.items())


def _runs(study: Loaded) -> list[Cell]:
    return [*study.references, *(cell for point in study.every_point for cell in point.cells)]


def _final(cell: Cell, part: str) -> dict[int, Row]:
    mark = cell.record["checkpoints"][-1]["mark"]
    return {int(row["prompt_id"]): row for row in cell.samples() if row.get("mark") == mark and row.get("slice") == part}


def _outcomes(cell: Cell, found: Judgement) -> Values:
    """Per prompt the recorded outcome against the first SFT sample, and the judge's on the same two texts."""
    rows = _final(cell, "evaluation")
    keys = ("win", "forward", "backward") if found.facts.get("asked") != "once" else ("win",)
    said = {row["prompt_id"]: [row.get(key, np.inf) for key in keys] for row in silence.said(found.rows, found.facts)}
    both = {prompt: ((rows[prompt].get("wins_each") or [None])[0], *values) for prompt, values in said.items() if prompt in rows}
    legal = {prompt: each for prompt, each in both.items() if each[0] is not None and all(value in (0, 0.5, 1, None) for value in each)}
    return {prompt: tuple(np.nan if value is None else float(value) for value in each) for prompt, each in legal.items()}


def _detected(cell: Cell, found: Judgement) -> Values:
    """Per prompt whether the record calls the response a refusal, and the detector's score."""
    rows = _final(cell, str(found.facts.get("suite")))
    scores = {row["prompt_id"]: row.get("score") for row in found.rows if row["prompt_id"] in rows}
    known = {prompt: float(score) for prompt, score in scores.items() if isinstance(score, int | float) and 0 <= score <= 1}
    return {prompt: (float(rows[prompt].get("category") == REFUSAL), score) for prompt, score in known.items()}


def quality(again: Again, study: Loaded) -> Quality:
    """Agreement with the recorded judge, over the policies and prompts that every seed has."""
    stack, records = _stack(again, study)
    of = len(_runs(study))
    if stack is None:
        return Quality(None, records, of)
    first, second = stack[..., RECORDED], stack[..., AGAIN]
    decided = np.isfinite(second)
    found = Quality(None, records, of, _share((~decided).mean(0)), int((~decided).sum()), decided.size)
    if not decided.any():
        return found
    ties = _decided(first == 0.5, decided, 0.0, 1.0), _decided(second == 0.5, decided, 0.0, 1.0)
    found = found._replace(agreement=_agreed(first, second, decided), ties=ties)
    if stack.shape[-1] <= BACKWARD:
        return found
    forward, backward = stack[..., FORWARD], stack[..., BACKWARD]
    place = _decided((forward + backward) / 2 - 0.5, decided, -0.5, 0.5)
    return found._replace(consistency=_decided(forward == 1 - backward, decided, 0.0, 1.0), position=place)


def _decided(values: Array, decided: Array, lowest: float, highest: float) -> Interval:
    """The mean over what was decided, cut to what it can be."""
    return _cut(silence.share(values, decided), lowest, highest)


def _stack(again: Again, study: Loaded) -> tuple[Array | None, int]:
    """Everything said, (policies, seeds, prompts, answers), of the policies that all seeds have, and how many records that is."""
    policies = [study.references, *(point.cells for point in study.every_point)]
    seeds = {int(cell.record.get("seed", 0)) for cell in again.runs}
    whole = [cells for cells in policies if {int(c.record.get("seed", 0)) for c in cells if c in again.runs} == seeds]
    chosen = [[again.runs[cell] for cell in cells if cell in again.runs] for cells in whole]
    prompts = sorted(set.intersection(*(set(run) for runs in chosen for run in runs))) if chosen else []
    if not prompts:
        return None, 0
    return np.array([[[run[prompt] for prompt in prompts] for run in runs] for runs in chosen]), sum(map(len, chosen))


def _mean(table: Array) -> Interval:
    return two_way_interval(table, generator=resampler())


def _share(table: Array) -> Interval:
    return _cut(_mean(table), 0.0, 1.0)


def _cut(found: Interval, lowest: float, highest: float) -> Interval:
    """The interval cut to what its number can be: few seeds reach beyond."""
    return found._replace(lower=max(found.lower, lowest), upper=min(found.upper, highest))


def _agreed(first: Array, second: Array, decided: Array | None = None) -> Agreement:
    found = agreement(first, second, generator=resampler(), decided=decided)
    return found._replace(share=_cut(found.share, 0.0, 1.0), kappa=found.kappa and _cut(found.kappa, -1.0, 1.0))


def tables(again: Again, points: Sequence[Point]) -> tuple[list[int], Array] | None:
    """The seeds that all these points were judged at, and what was said of each, (points, seeds, prompts, answers); None without any.

    Answers are the recorded one, and the least and the most that the new one can have been: they differ where it is no verdict.
    """
    runs = [_by_seed(again, point.cells) for point in points]
    seeds = sorted(set.intersection(*(set(each) for each in runs)))
    prompts = sorted(set.intersection(*(set(each[seed]) for each in runs for seed in seeds))) if seeds else []
    if not prompts:
        return None
    return seeds, np.array([[[_answers(each[seed][prompt]) for prompt in prompts] for seed in seeds] for each in runs])


def _answers(values: tuple[float, ...]) -> tuple[float, float, float]:
    return (values[RECORDED], *silence.possible(*values[AGAIN:]))


def _by_seed(again: Again, cells: Iterable[Cell]) -> dict[int, Values]:
    return {int(cell.record.get("seed", 0)): again.runs[cell] for cell in cells if cell in again.runs}


class Detected(NamedTuple):
    """What a detector found in a point's responses: its share, the change against the reference, and agreement with the record."""

    share: Interval
    change: Verdict | None
    agreement: Agreement | None


def detected(again: Again, point: Point, study: Loaded) -> Detected | None:
    """A detector's findings of one point; None where it read none of its runs. Only refusals are held against the record."""
    found = tables(again, [point])
    if found is None:
        return None
    _, stack = found
    agreed = _agreed(stack[..., RECORDED], np.round(stack[..., AGAIN])) if again.facts.get("finds") == REFUSAL else None
    return Detected(_share(stack[0, ..., AGAIN]), _change(again, point, study), agreed)


def _change(again: Again, point: Point, study: Loaded) -> Verdict | None:
    """Policy less reference, paired by seed and prompt; a verdict where one direction is worse."""
    ours, theirs = _by_seed(again, point.cells), _by_seed(again, study.references)
    seeds = sorted(ours.keys() & theirs.keys())
    prompts = sorted(set.intersection(*(ours[s].keys() & theirs[s].keys() for s in seeds))) if seeds else []
    if not prompts:
        return None
    after, before = (np.array([[runs[s][p][AGAIN] for p in prompts] for s in seeds]) for runs in (ours, theirs))
    finds, half = str(again.facts.get("finds")), _half(_final(point.cells[0], str(again.facts.get("suite"))).values())
    return verdict(
        after,
        before,
        worse=direction(half, finds),
        margin=margin_of(study),
        bounds=(0.0, 1.0),
        refused=float(before.mean()) if half == HARMFUL and finds == REFUSAL else None,
        counted=True,
        generator=resampler(),
    )


def _half(rows: Collection[Row]) -> str:
    """Which half of a suite the rows are of; a slice with canonical refusals is harmful where losing them is the regression."""
    said = next((str(row["half"]) for row in rows if "half" in row), "")
    return said or (HARMFUL if any("refusal_mass" in row for row in rows) else BENIGN)
