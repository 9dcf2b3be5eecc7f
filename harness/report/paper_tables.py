r"""The tables of a paper: results with intervals and what is best within noise, paired comparisons, and what the words under them say."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from harness.measure.accounting import Column
from harness.measure.statistics.significance import LEVEL
from harness.report import declared, findings, latex, marking
from harness.report.comparing import Comparison, baseline, chosen, comparisons
from harness.report.points import NOT_CONVERGED, Loaded, Point, charged, points, reference_metric

RESULTS = (
    Column("win_sft", r"Win rate $\uparrow$", "share", 3),
    Column("gold", r"Gold reward $\uparrow$", "reward", 2),
    Column("kl", "KL, nats", "nats", 2),
    Column("refusal_mass_delta", r"$\Delta$ refusals", "change", 3),
)
NARROW = ("win_sft", "kl")  # what one column of two has room for
UP = ("win_sft", "gold")  # more is better: the columns in which the best is marked
Marks = Mapping[str, Collection[Point]]
DAGGER = NOT_CONVERGED.strip()


def results(study: Loaded, label: str, *, narrow: bool) -> str:
    """The main table: a row per algorithm and setting, values with 95 % intervals, controls and oracles under a rule."""
    found = points(study)
    shown = [
        column
        for column in RESULTS
        if any(point.value(column.key) is not None for point in found) and (not narrow or column.key in NARROW or _only(found, column))
    ]
    marks = {column.key: marking.marked(found, column.key) for column in shown if column.key in UP}
    rows = [_row(point, shown, marks, narrow=narrow) for point in found if point.ranked]
    if rest := [_row(point, shown, marks, narrow=narrow) for point in found if not point.ranked]:
        rows += [[], *rest]
    heads = ["Algorithm", "Setting", *(column.heading for column in shown), *([] if narrow else ["FLOPs"])]
    inner = latex.tabular(heads, [_reference(study, shown, narrow=narrow), [], *rows], "ll" + "l" * (len(heads) - 2))
    size = r"\scriptsize\setlength{\tabcolsep}{4pt}"  # six columns with intervals take 5.4 in of the 5.5 that the narrowest page has
    return latex.table(inner, _caption(study, found, marks, shown), f"tab:{label}-results", wide=not narrow, size=size)


def _only(found: Sequence[Point], column: Column) -> bool:
    """Gold takes the win rate's place where there is none."""
    return column.key == "gold" and all(point.value("win_sft") is None for point in found)


def _row(point: Point, shown: Sequence[Column], marks: Marks, *, narrow: bool) -> list[str]:
    cells = [_cell(point, column, marks) for column in shown]
    flops = [] if narrow else [latex.scientific(sum(charged(cell.record) for cell in point.cells) / len(point.cells))]
    return [latex.escape(point.title), latex.escape(point.setting), *cells, *flops]


def _cell(point: Point, column: Column, marks: Marks) -> str:
    return latex.number(point.get(column.key), column.digits, bold=point in marks.get(column.key, ()))


def _reference(study: Loaded, shown: Sequence[Column], *, narrow: bool) -> list[str]:
    found = [latex.number(reference_metric(study.references, column.key), column.digits) for column in shown]
    return ["SFT reference", "", *found, *([] if narrow else [""])]


def _caption(study: Loaded, found: Sequence[Point], marks: Marks, shown: Sequence[Column]) -> str:
    """What the numbers are, over how many prompts and seeds, and what bold means or why nothing is."""
    counts = sorted({len(point.cells) for point in found})
    seeds = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else "no"
    said = [
        "Win rate against samples of the shared SFT reference (ties one half) and KL to it in nats per response, each with its interval: "
        + findings.interval_line(found),
        f"{seeds} seed{'s' * (seeds != '1')}, {_prompts(found, ('win_sft', 'gold'))}{_harmful(found, shown)}.",
    ]
    if why := marking.unsupported(found):
        said.append(f"Nothing is marked as best: {why}.")
    elif any(marks.values()):
        said.append("Bold: best within noise, every row whose paired interval against the highest mean covers 0 (not adjusted for choice).")
    if any(point.rising for point in found):
        said.append(f"{DAGGER}: not converged, neither marked nor ranked.")
    if mark := findings.watermark(study):
        said.insert(0, f"{mark}.")
    if any(not point.ranked for point in found):
        said.append("Below the rule: controls and oracles, which are not ranked.")
    return " ".join(map(latex.escape, said))


def _harmful(found: Sequence[Point], shown: Sequence[Column]) -> str:
    """Over how many prompts the change of refusals is, where the table has it: they are others than those that are evaluated."""
    key = "refusal_mass_delta"
    return f" (refusals: {_prompts(found, (key,))})" if any(column.key == key for column in shown) else ""


def _prompts(found: Sequence[Point], keys: Sequence[str]) -> str:
    """``384 prompts``, or ``128 to 384 prompts``, behind the first of the metrics that a point has."""
    every = ((point.get(key) for key in keys) for point in found)
    counts = sorted({each.n for values in every if (each := next(filter(None, values), None))})
    return f"{' to '.join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else 'no'} prompts"


def compared(study: Loaded, label: str, *, narrow: bool) -> str | None:
    """The table of the declared family against its baseline; None where nothing is compared."""
    found = points(study)
    made, base = comparisons(study, found), baseline(study, found)
    if not made or base is None:
        return None
    heads = ["Algorithm", "Setting", "Difference", "Adjusted $p$"]
    size = r"\scriptsize\setlength{\tabcolsep}{3pt}" if narrow else r"\footnotesize"
    inner = latex.tabular(heads, [_compared(each) for each in made], "llll")
    settings = declared.how(list(chosen(found).values()))
    caption = (
        f"Win rate against the SFT reference less that of {base} ({chosen(found)[base].setting}), in shares, paired by seed and prompt, "
        f"at one setting of each algorithm, {settings}. Intervals: {findings.interval_line(found).rstrip('.')}, "
        f"{_prompts(found, ('win_sft',))}. Sign-flip test over seeds, "
        f"Holm over the declared family, level {LEVEL:g}."
    )
    return latex.table(inner, latex.escape(caption), f"tab:{label}-comparisons", wide=not narrow, size=size)


def _compared(each: Comparison) -> list[str]:
    name = latex.escape(each.name + NOT_CONVERGED * each.rising)
    return [name, latex.escape(each.setting), latex.number(each.difference, 3), latex.escape(verdict(each))]


def verdict(each: Comparison) -> str:
    """An adjusted p, or why there is none."""
    if each.difference is None:
        return each.reason
    if each.rising:
        return "not converged"
    if each.exploratory or each.verdict is None:
        return "exploratory"
    return f"{each.verdict.adjusted:.2g}" if each.verdict.testable else f"not testable (at least {each.verdict.smallest:.2g})"
