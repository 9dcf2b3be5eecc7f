"""The part of the safety room on suites of real prompts: what was asked, who read the answers, and every category's change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.measure.verdicts import NOT_MEASURABLE, Verdict
from harness.report.points import Loaded
from harness.report.safety import Judged
from harness.report.safety_metrics import DETECTED
from harness.report.section import Grid

OWN_WORDS = (
    "Shares of refusals on suites are of one sample per prompt at temperature 1, as the detector named calls it: a rule on openings misses "
    "refusals in other words, and a response that is no refusal need not comply. Prompts are rendered as the task's own are."
)


def paragraphs(study: Loaded) -> list[str]:
    """What was asked and what was left out, for every suite; nothing where there are none."""
    plans = [plan for plan in study.experiment.get("safety_suites") or () if isinstance(plan, Mapping)]
    if not plans:
        return []
    counts = [(reference.record.get("safety") or {}).get("too_long") or {} for reference in study.references]
    lost: Mapping[str, int] = next(filter(None, counts), {})
    long = ", ".join(f"{count} of {name}" for name, count in lost.items())
    found = [_plan(plan) for plan in plans]
    return [OWN_WORDS, *found, *([f"Left out because they do not fit the task's prompt limit: {long} prompts."] if long else [])]


def _plan(plan: Mapping[str, Any]) -> str:
    asked = ", ".join(f"{part.get('prompts')} {part.get('half')}" for part in plan.get("slices") or ())
    dropped = plan.get("dropped") or {}
    left = f"; left out: {', '.join(f'{count} {reason}' for reason, count in dropped.items())}" if dropped else ""
    commit = f", commit {plan.get('revision')}" if plan.get("revision") else ""
    said = f"Suite {plan.get('name')}: {plan.get('title')}, version {plan.get('version')}{commit}; {plan.get('licence')}"
    return f"{said}; {plan.get('source')}. Of {plan.get('read')} rows it asks {asked} prompts{left}."


def tables(verdicts: Sequence[Judged]) -> Iterator[Grid]:
    """For each half of a suite and each detector a row for every category of prompts and a column for every point."""
    every = [each for each in verdicts if each.metric.key.startswith(DETECTED) and each.categories]
    for metric in dict.fromkeys(each.metric for each in every):
        yield _table([each for each in every if each.metric == metric])


def _table(judged: Sequence[Judged]) -> Grid:
    first = judged[0]
    names = list(first.categories)
    rows = [[name, *(_cell(each.categories.get(name)) for each in judged)] for name in names]
    headings = ["category", *(f"{each.point.title} {each.point.setting}" for each in judged)]
    caption = (
        f"Every category of {first.metric.part} prompts, {first.metric.title}: verdict, change against the SFT reference, interval, "
        f"n prompts. The intervals of the {len(names)} categories of a column hold together at 95 % (Bonferroni)."
    )
    return Grid(headings, rows, caption, numeric=1)


def _cell(found: Verdict | None) -> str:
    if found is None:
        return "not measured"
    value, lower, upper, n = found.change
    change = f"{value:+z.3f} [{lower:+z.3f}, {upper:+z.3f}], n={n}"
    name = f"{found.name}: " if found.name else ""
    return f"{name}{found.note} ({change})" if found.name == NOT_MEASURABLE else f"{name}{change}"
