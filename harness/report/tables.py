"""Tables of a study: for the page, and as ten lines for a terminal. An undefined number is an empty cell with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.measure.accounting import Column
from harness.measure.statistics import Interval
from harness.report import declared, findings
from harness.report.escape import visible
from harness.report.figure_compute import hour_unit, hours_by_stage
from harness.report.points import Point, charged, load, points, reference_metric
from harness.store.records import Study

MAIN = (
    Column("win_sft", "win rate vs SFT", "share"),
    Column("win_reference", "win rate vs data", "share"),
    Column("tie_sft", "ties vs SFT", "share"),
    Column("gold", "gold reward", "reward"),
    Column("preference_accuracy", "held-out accuracy", "share"),
    Column("heldout_label_accuracy", "held-out labels", "share"),
    Column("rouge_l", "ROUGE-L", "share", 3),
    Column("kl", "KL", "nats"),
    Column("k1", "k1 check", "nats"),
    Column("forward_kl", "forward KL", "nats"),
    Column("length", "length", "tokens", 1),
    Column("eos_rate", "ended by EOS", "share"),
    Column("repetition", "repetition", "share", 3),
    Column("refusal_mass_delta", "refusals, harmful", "change", 3),
    Column("over_refusal_mass_delta", "refusals, borderline", "change", 3),
)
COMPONENTS = ("gold", "coverage", "unsupported", "distractors", "ungrammatical", "repetition_gold", "filler", "ending", "length")
"""What a gold reward was made of in records that do not name the columns of their score."""


UNKNOWN = "unknown"


class Value(NamedTuple):
    """A printed number: the value, its bounds, its n, and why it is absent."""

    text: str
    bounds: str = ""
    n: str = ""
    reason: str = ""


class Line(NamedTuple):
    """A row of a table: the algorithm, its setting, how many seeds, its values, and exact amounts that have no interval."""

    name: str
    setting: str
    seeds: str
    values: list[Value]
    amounts: list[str]


def value(found: Interval | None, digits: int, reason: str = "not defined for this task") -> Value:
    """A number with its interval and n; absent numbers and bounds say why."""
    if found is None:
        return Value("", reason=reason)
    if math.isnan(found.lower + found.upper):
        return Value(f"{found.value:z.{digits}f}", "[no bounds]", f"n={found.n}")
    return Value(f"{found.value:z.{digits}f}", f"[{found.lower:z.{digits}f}, {found.upper:z.{digits}f}]", f"n={found.n}")


def columns(study: Study, candidates: Sequence[Column], always: Sequence[str] = ("win_sft", "gold", "kl")) -> list[Column]:
    """The columns that some cell defines, and those that are asked for in any case (their emptiness is news)."""
    found = points(study)
    return [column for column in candidates if column.key in always or any(point.value(column.key) is not None for point in found)]


def components(study: Study) -> list[Column]:
    """The columns of the score that a task brought, in its own order, as far as some cell defines them."""
    heads = [each.record.get("judge") or {} for each in (*study.cells, *study.references)]
    names = next((found for head in heads if (found := head.get("columns"))), COMPONENTS)
    return columns(study, [Column(name, name.removesuffix("_gold"), "mean") for name in names], always=())


class Table(NamedTuple):
    """Columns with, per column, the n that all its numbers share (empty where they differ), headings of amounts, and rows."""

    columns: list[Column]
    n: list[str]
    amounts: list[str]
    lines: list[Line]


def measured(study: Study, chosen: list[Column], *, costs: bool = False) -> Table:
    """A table of measured numbers: one row for the reference and one per point; ``costs`` adds FLOPs and hours."""
    rows = lines(study, chosen, costs=costs)
    shared = [{line.values[position].n for line in rows if line.values[position].text} for position in range(len(chosen))]
    return Table(chosen, [each.pop() if len(each) == 1 else "" for each in shared], ["charged FLOPs", _unit(study)] if costs else [], rows)


def lines(study: Study, chosen: Sequence[Column], *, costs: bool = False) -> list[Line]:
    """One row for the reference and one per point."""
    base = [value(reference_metric(study.references, column.key), column.digits, "not defined for the reference") for column in chosen]
    head = Line("SFT reference", "", str(len(study.references)), base, ["", ""] if costs else [])
    for point in points(study):
        point.ask(column.key for column in chosen)
    body = [
        Line(
            point.title,
            point.setting,
            str(len(point.cells)),
            values,
            [_flops(_charged(point)), _hours(point, _unit(study))] if costs else [],
        )
        for point in points(study)
        for values in [[value(point.get(column.key), column.digits) for column in chosen]]
    ]
    return ([head] if study.references else []) + body


def summary(study: Path | Study) -> str:
    """At most ten lines for a terminal and the caveat: every point where they fit, else one setting per algorithm, nearest in KL."""
    loaded = load(study) if isinstance(study, Path) else study
    found = points(loaded)
    if not found:
        return f"No finished cell. {findings.counts(loaded)}."
    shown = found if len(found) <= 9 else list(declared.settings(found).values())[:9]
    chosen = columns(loaded, [column for column in MAIN if column.key in ("win_sft", "win_reference", "gold", "kl", "refusal_mass_delta")])
    table = [["algorithm", "setting", *(column.heading for column in chosen), "n"]]
    for point in shown:
        cells = [value(point.get(column.key), column.digits) for column in chosen]
        kl = point.get("kl")
        table.append(
            [point.title, point.setting, *(f"{cell.text} {cell.bounds}".strip() or "-" for cell in cells), str(kl.n if kl else "-")]
        )
    return aligned(table) + "\n" + caveat(loaded, found, shown)


def caveat(study: Study, found: Sequence[Point], shown: Sequence[Point]) -> str:
    """The one line under a terminal's table."""
    chosen = f"{len(shown)} of {len(found)} settings, of each algorithm {declared.how(found)}." if len(shown) < len(found) else ""
    seeds = findings.seeds_line(found).split(". ")[0].rstrip(".")
    parts = [findings.watermark(study), seeds, findings.interval_line(found).rstrip("."), str(findings.counts(study))]
    return " ".join(filter(None, [". ".join(filter(None, parts)) + ".", chosen]))


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Rows as columns padded to their widest cell, control characters escaped, no trailing spaces."""
    cells = [[visible(cell, lines=False) for cell in row] for row in table]
    widths = [max(len(row[position]) for row in cells) for position in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)


def _unit(study: Study) -> str:
    cells = [cell for point in points(study) for cell in point.cells]
    return hour_unit(cells) or f"hours ({'devices differ: not pooled' if any(cell.times for cell in cells) else 'not recorded'})"


def _charged(point: Point) -> float:
    return _average([charged(cell.record) for cell in point.cells])


def _hours(point: Point, unit: str) -> str:
    if not all(cell.times for cell in point.cells):
        return UNKNOWN
    hours = _average([sum(hours_by_stage(cell).values()) for cell in point.cells])
    return "" if "not pooled" in unit else f"{hours:.3g}"


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _flops(amount: float) -> str:
    return UNKNOWN if math.isnan(amount) else f"{amount:.3e}" if amount else "0"
