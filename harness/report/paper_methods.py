r"""The methods paragraph of a paper, in sentences that the records carry: what was compared, at which compute, how it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.measure.statistics.significance import LEVEL, smallest_p
from harness.report import bibliography, findings, latex, matching
from harness.report.comparing import baseline, chosen, planned
from harness.report.points import Loaded, Point, by_algorithm, every_point, limit_of, points
from harness.store.records import Row

NOT_SAID = "not recorded"


def paragraph(study: Loaded) -> str:
    """One LaTeX paragraph; empty where nothing finished."""
    found = points(study)
    if not found:
        return ""
    head = found[0].head
    said = [*_setup(study, head), *_algorithms(found), *_compute(study), *_measured(found, head), *_statistics(study, found)]
    return rf"\paragraph{{Comparison on {latex.escape(part(head, 'task').get('name', NOT_SAID))}.}}" + "\n" + "\n".join(said) + "\n"


def part(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A mapping in a record; empty where the record has none."""
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def counted(values: Sequence[int]) -> str:
    """``3``, or ``3 to 8`` where they differ."""
    return " to ".join(map(str, dict.fromkeys([min(values), max(values)]))) if values else "0"


def _setup(study: Loaded, head: Row) -> Iterator[str]:
    task, model = part(head, "task"), part(head, "model")
    if mark := findings.watermark(study):
        yield rf"\textbf{{{latex.escape(mark)}.}}"
    size = f"{model['parameters']:,} parameters, " if isinstance(model.get("parameters"), int) else ""
    yield latex.escape(
        f"Task {task.get('name', NOT_SAID)} (version {task.get('version', NOT_SAID)}, source {task.get('source', NOT_SAID)}); "
        f"policy {model.get('name', NOT_SAID)} ({size}{model.get('dtype', NOT_SAID)})."
    )
    yield from (latex.escape(f"Note: {note}") for note in study.experiment.get("notes") or task.get("notes") or ())
    assumed = part(head, "assumptions")
    if assumed:
        yield latex.escape(
            f"Preference pairs: {assumed.get('pairs', NOT_SAID)}, labels {assumed.get('labels', NOT_SAID)} with agreement "
            f"{assumed.get('agreement', NOT_SAID)}, responses from {assumed.get('pairs_from', NOT_SAID)}."
        )
    if study.references and not all(point.foreign for point in points(study)):
        yield "All algorithms of a seed start from one supervised reference and see the same pairs."


def _algorithms(found: Sequence[Point]) -> Iterator[str]:
    named = []
    for name, group in by_algorithm(found).items():
        kind = " (control)" if group[0].control else " (oracle)" if group[0].oracle else ""
        count = f"{len(group)} setting{'s' if len(group) > 1 else ''}"
        named.append(f"{latex.escape(name + kind)}{bibliography.cite(str(part(group[0].head, 'algorithm').get('source') or ''))}, {count}")
    yield f"Compared: {'; '.join(named)}; seeds per setting: {counted([len(point.cells) for point in found])}."
    tuned = sum(bool(point.head.get("tuned")) for point in found)
    if tuned:
        yield f"Settings of {tuned} of {len(found)} points were tuned on tuning prompts."
    elif not all(point.foreign for point in found):
        yield latex.escape(findings.UNTUNED)


def _compute(study: Loaded) -> Iterator[str]:
    budgets = {limit_of(point.head): point for point in every_point(study)}
    named = ", ".join(f"{point.budget} = {latex.scientific(limit)}" for limit, point in sorted(budgets.items()) if limit)
    if named:
        yield f"Budget per run: {named} {latex.escape(matching.unit(every_point(study)))}."
    yield latex.escape(matching.matching(every_point(study)))
    yield latex.escape(f"{findings.counts(study)}.")


def _measured(found: Sequence[Point], head: Row) -> Iterator[str]:
    """How a policy is measured; of outcomes made elsewhere only that nobody here knows."""
    if foreign := sorted({point.algorithm for point in found if point.foreign}):
        yield latex.escape(findings.FOREIGN.format(", ".join(foreign)))
    if all(point.foreign for point in found):
        return
    prompts = [each.n for point in found if (each := point.get("win_sft") or point.get("win_reference"))]
    judge = part(head, "judge").get("primary", NOT_SAID)
    yield latex.escape(
        f"Each policy answers {counted(prompts)} evaluation prompts at temperature 1. Win rate: share of prompts on which its response "
        f"beats frozen samples of the supervised reference, ties counted one half, by the judge {judge}."
    )
    yield (
        rf"KL to the reference is the exact KL of the next-token distributions summed over sampled responses~\cite{{{bibliography.KL}}}, "
        rf"in nats per response; it is no reliable measure of optimisation pressure across methods~\cite{{{bibliography.CAVEAT}}}."
    )


def _statistics(study: Loaded, found: Sequence[Point]) -> Iterator[str]:
    base, family = baseline(study, found), [name for name in planned(study, found) if name != baseline(study, found)]
    seeds = min(len(point.cells) for point in found)
    yield f"Intervals: {latex.escape(findings.interval_line(found)).removesuffix('.')}~\\cite{{{bibliography.BOOTSTRAP}}}."
    if base is None or not family:
        return
    smallest = smallest_p(seeds, len(family))
    count, against = f"{len(family)} algorithm{'s' * (len(family) > 1)}", f"{base} ({chosen(found)[base].setting})"
    if smallest > LEVEL:
        tested = latex.escape(f", without a test: the smallest adjusted p that {seeds} seed{'s' * (seeds > 1)} can give is {smallest:.2g}.")
    else:
        tested = rf" by a two-sided sign-flip test over seeds, p adjusted over the family~\cite{{{bibliography.HOLM}}}."
    yield latex.escape(f"Compared with {against}, paired by seed and prompt: {count}") + tested
