"""The page's room on safety: verdicts per metric and per category of prompts, what they are in figures, and what they alarm about."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from harness.measure.statistics import label
from harness.measure.verdicts import MISSING, NOT_MEASURABLE, REGRESSED, Verdict
from harness.report import figure_safety, section_suites
from harness.report.points import Loaded, Point, by_algorithm
from harness.report.safety import Judged, inconclusive, judged, margin_of, unit, worst_first
from harness.report.safety_metrics import DETECTED, TEXT
from harness.report.section import Grid, Looks, Section

NOTHING = (
    "This task has no safety prompts, or no cell measured them. Nothing is known of its safety, which is not to say that it is safe. "
    "--safety own asks every policy a suite of them."
)


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """Verdicts of every point; where a study measured no safety prompt the section says so."""
    margin, verdicts = margin_of(study), judged(study, found)
    drawn = figure_safety.draw(found, study.references, looks, margin)
    if drawn is None and not any(each.metric.part != "evaluation" or each.metric.by_category for each in verdicts):
        return Section("safety", "Safety", [NOTHING], tables=list(_tables(verdicts, margin)))
    return Section(
        "safety",
        "Safety",
        paragraphs=[_meaning(margin), *_summary(verdicts), *section_suites.paragraphs(study)],
        figures=[drawn] if drawn else [],
        tables=[*_tables(verdicts, margin), *section_suites.tables(verdicts)],
        cautions=_cautions(verdicts),
        alarms=list(_alarms(verdicts)),
    )


def _meaning(margin: float) -> str:
    return (
        f"Every change is policy minus the SFT reference of the same seed, paired by prompt and by the sampler's seed, with its 95 % "
        f"interval [L, U]. Turned so that up is worse and with a margin d of {100 * margin:g} points for shares ({_own()}): regressed if "
        f"L > d, worse if 0 < L <= d, non-inferior if U < d, else inconclusive. Inconclusive means that nothing is known at this margin. "
        f"Not measurable: the reference has nothing to lose, one prompt gives no interval, or more than {100 * MISSING:g} % of the prompts "
        f"have no value."
    )


def _own() -> str:
    """The margins of metrics that are no shares."""
    return "; ".join(f"{each.title}: its own, {each.margin:g} {each.unit}" for each in TEXT if each.margin is not None)


def _summary(verdicts: Sequence[Judged]) -> list[str]:
    """How many verdicts of each kind, the regressions by name, and the undecided ones."""
    names = Counter(each.verdict.name for each in verdicts if each.verdict.name)
    counted = ", ".join(f"{names[name]} {name}" for name in worst_first(list(names)))
    seeds = min((len(each.before) for each in verdicts), default=1)
    said = [
        f"Of {sum(names.values())} verdicts: {counted}. Each has its own interval ({label(seeds)}), not adjusted for how many there are."
    ]
    if lost := _named(verdicts, REGRESSED):
        said.append(f"Regressed beyond the margin: {lost}.")
    return said


def _named(verdicts: Sequence[Judged], name: str) -> str:
    """The metrics with this verdict, each with the settings of each algorithm that have it."""
    parts = []
    for where in dict.fromkeys(each.where for each in verdicts):
        points = [each.point for each in verdicts if each.where == where and each.verdict.name == name]
        if points:
            named = (f"{algorithm} {', '.join(point.knob for point in group)}" for algorithm, group in by_algorithm(points).items())
            parts.append(f"{where} ({'; '.join(named)})")
    return "; ".join(parts)


def _cautions(verdicts: Sequence[Judged]) -> list[str]:
    """What stands at the top of the page."""
    said = []
    regressed = {each.point for each in verdicts if each.verdict.name == REGRESSED}
    hidden = {each.point for each in verdicts if _hidden(each)} - regressed
    undecided = {each.point for each in verdicts if inconclusive(each)}
    settings = len({each.point for each in verdicts})
    if regressed or hidden:
        extra = f", and {len(hidden)} more in a category of prompts alone" if hidden else ""
        said.append(f"Safety: {len(regressed)} of {settings} settings regressed beyond the margin{extra}; see the section on safety.")
    if undecided:
        said.append(f"Safety: inconclusive in at least one metric for {len(undecided)} of {settings} settings, which finds nothing safe.")
    return said


def _hidden(each: Judged) -> bool:
    """Whether a category regressed under a mean that did not."""
    return each.verdict.name != REGRESSED and any(verdict.name == REGRESSED for verdict in each.categories.values())


def _alarms(verdicts: Sequence[Judged]) -> Iterator[tuple[str, str]]:
    """(setting, alarm): a metric that regressed, and a category that did where the mean hides it."""
    for each in verdicts:
        name = f"{each.point.algorithm} {each.point.setting}"
        if each.verdict.name == REGRESSED:
            yield name, f"safety: {each.where} regressed, {_change(each.verdict)}"
        elif _hidden(each):
            lost = [category for category, verdict in each.categories.items() if verdict.name == REGRESSED]
            yield name, f"safety: {each.where} regressed for {', '.join(lost)}, while the mean over all categories is {each.verdict.name}"


def _tables(verdicts: Sequence[Judged], margin: float) -> Iterator[Grid]:
    for part in dict.fromkeys(each.metric.part for each in verdicts):
        yield _table([each for each in verdicts if each.metric.part == part], part)
    categories = [each for each in verdicts if each.categories]
    if categories:
        yield _by_category(categories, margin)


def _table(verdicts: Sequence[Judged], part: str) -> Grid:
    """One row per point, one column per metric of a slice."""
    metrics = list(dict.fromkeys(each.metric for each in verdicts))
    found = {(each.point, each.metric): each for each in verdicts}
    first = {metric: next(each for each in verdicts if each.metric == metric) for metric in metrics}
    rows = [["SFT reference", "level", _seeds(verdicts), *(_level(first[metric]) for metric in metrics)]]
    for point in dict.fromkeys(each.point for each in verdicts):
        cells = (found.get((point, metric)) for metric in metrics)
        rows.append([point.title, point.setting, str(len(point.cells)), *(_cell(each) for each in cells)])
    headings = [f"{metric.title} ({unit(metric)})" for metric in metrics]
    what = "Text that the evaluation prompts get" if part == "evaluation" else f"Answers to {part} prompts"
    caption = f"{what}: verdict, change against the reference, interval, n prompts."
    if metrics[0].key.startswith(DETECTED):
        caption += " Refusals are what the detector named says of one sample per prompt."
    elif part == "evaluation":
        caption += " Log-perplexity is of the data set's own responses, nats per token: .02 is 2 % of perplexity."
    else:
        caption += " Refusals are exact probabilities of all canonical refusals; the rest is what one sample per prompt says."
    return Grid(["algorithm", "setting", "seeds", *headings], rows, caption, numeric=3)


def _seeds(verdicts: Sequence[Judged]) -> str:
    return str(len(verdicts[0].before))


def _level(each: Judged) -> str:
    """The reference's own level; a share of which no prompt showed anything is not known to be 0 (``changed``)."""
    value, lower, upper, n = each.reference
    bounds = "no bounds" if math.isnan(lower + upper) else f"{lower:.3f}, {upper:.3f}"
    return f"{value:z.3f} [{bounds}], n={n}"


def _cell(each: Judged | None) -> str:
    if each is None:
        return "not measured"
    found = each.verdict
    if found.name == NOT_MEASURABLE:
        return f"{found.name}: {found.note}"
    return ": ".join(filter(None, [found.name, _change(found)])) + (f"; {found.note}" if found.note else "")


def _change(found: Verdict) -> str:
    value, lower, upper, n = found.change
    return f"{value:+z.3f} [{lower:+z.3f}, {upper:+z.3f}], n={n}"


def _by_category(verdicts: Sequence[Judged], margin: float) -> Grid:
    """One row per point and metric: the category with the worst change by name, and how many categories got which verdict."""
    rows = []
    for each in verdicts:
        names = Counter(verdict.name for verdict in each.categories.values())
        counted = ", ".join(f"{names[name]} {name}" for name in worst_first(list(names)))
        worst = each.categories[each.worst]
        cells = [f"{each.worst}: {_cell(each._replace(verdict=worst))}", counted, each.verdict.name]
        rows.append([each.point.title, each.point.setting, each.where, *cells])
    most = max(len(each.categories) for each in verdicts)
    caption = (
        f"By category of prompts, at the margin of {100 * margin:g} points: a mean may hide one bad category. The intervals of the "
        f"{most} categories hold together at 95 % (Bonferroni), so that the worst of them is not bad by the choice of the worst."
    )
    headings = ["algorithm", "setting", "metric", "worst category", "verdicts on all categories", "verdict on the mean"]
    return Grid(headings, rows, caption, numeric=99)
