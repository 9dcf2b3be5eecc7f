"""The appendix of a paper: settings, seeds, compute, versions and hashes of everything that stands in its tables."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence

from harness.measure.accounting import consumption
from harness.report import findings, latex
from harness.report.figure_compute import hour_unit, hours_by_stage
from harness.report.paper_methods import NOT_SAID, counted, part
from harness.report.points import Loaded, Point, by_algorithm, every_point, setting_label
from harness.store.records import RECORD, Cell, Row

ROWS = 36  # lines of a table, so that it fits a page
WIDE = 60  # characters of a line of its last column
SHOWN = 16  # hexadecimal digits of a hash: 64 bits


def appendix(study: Loaded, label: str) -> str:
    """The tables one after another, each cut to what a page holds."""
    found = every_point(study)
    made = [*_settings(found, label), *_compute(found, label), *_hashes(study, found, label)]
    return "\n".join([*made, _totals(study), _versions(study)])


def records_digest(cells: Sequence[Cell]) -> str:
    """sha256 over the sha256 of the records, in the order of the cells: one number that changes when any record does."""
    digests = (hashlib.sha256((cell.folder / RECORD).read_bytes()).hexdigest() for cell in cells)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _settings(found: Sequence[Point], label: str) -> Iterator[str]:
    rows: list[list[str]] = []
    for name, group in by_algorithm(found).items():
        every = [part(point.head, "settings") for point in group]
        shared = {key: value for key, value in every[0].items() if len(group) > 1 and all(each.get(key) == value for each in every)}
        rows += [[latex.escape(name), "all", "", "", _listed(shared)]] if shared else []
        for point, settings in zip(group, every, strict=True):
            own = {key: value for key, value in settings.items() if key not in shared}
            rows.append([*_named(point), " ".join(map(str, point.seeds)), _listed(own)])
    heads = ["Algorithm", "Setting", "Budget", "Seeds", "All settings"]
    said = "Settings and seeds of every run that is shown; what all settings of an algorithm share stands once."
    yield from _tables(heads, rows, r"llllp{0.42\linewidth}", said, f"tab:{label}-settings")


def _listed(settings: Row) -> str:
    r"""Settings in a paragraph cell, ragged on the right, where \raggedright would take the end of the row for one of a line."""
    return r"\rightskip0pt plus 3em\relax " + latex.escape(setting_label(dict(sorted(settings.items())))) if settings else ""


def _named(point: Point) -> list[str]:
    return [latex.escape(each) for each in (point.algorithm, point.setting, point.budget)]


def _compute(found: Sequence[Point], label: str) -> Iterator[str]:
    unit = hour_unit([cell for point in found for cell in point.cells])
    rows = [[*_named(point), *(_mean(point, key) for key in ("canonical", "executed", "steps", "labels", "memory"))] for point in found]
    heads = ["Algorithm", "Setting", "Budget", "Charged FLOPs", "Executed FLOPs", "Steps", "Labels", "Memory, MB"]
    said = "Compute of a run, means over seeds: charged canonical FLOPs, executed FLOPs of the charged phases, optimiser steps, labels "
    said += "bought, peak memory of the process."
    if unit is not None:
        rows = [[*row, _hours(point)] for row, point in zip(rows, found, strict=True)]
        heads.append(latex.escape(unit))
    else:
        timed = any(cell.times for point in found for cell in point.cells)
        why = "the cells ran on several kinds of device, whose hours are not pooled" if timed else "none were recorded"
        said += f" Hours are left out: {why}."
    yield from _tables(heads, rows, "lll" + "r" * (len(heads) - 3), said, f"tab:{label}-compute")


def _mean(point: Point, key: str) -> str:
    values = [consumption(cell.record, cell.times)[key] for cell in point.cells]
    mean = sum(values) / len(values)
    return latex.scientific(mean)


def _hours(point: Point) -> str:
    """Means over seeds; unknown of what was trained elsewhere and nobody timed."""
    if not all(cell.times for cell in point.cells):
        return "unknown"
    return f"{sum(sum(hours_by_stage(cell).values()) for cell in point.cells) / len(point.cells):.3g}"


def _hashes(study: Loaded, found: Sequence[Point], label: str) -> Iterator[str]:
    rows = [[*_named(point), _hash(part(point.head, "algorithm").get("hash")), _hash(records_digest(point.cells))] for point in found]
    rows += [["SFT reference", f"seed {each.record.get('seed', 0)}", "", "", _hash(records_digest([each]))] for each in study.references]
    heads = ["Algorithm", "Setting", "Budget", "Its file", "Its records"]
    said = f"First {SHOWN} hexadecimal digits of sha256: of an algorithm's file as it ran, and over the sha256 of its seeds' records."
    yield from _tables(heads, rows, "lllll", said, f"tab:{label}-hashes")


def _hash(value: object) -> str:
    return rf"\texttt{{{latex.escape(str(value)[:SHOWN])}}}" if value else NOT_SAID


def _tables(heads: Sequence[str], rows: Sequence[Sequence[str]], align: str, caption: str, label: str) -> Iterator[str]:
    cut = list(_cut(rows))
    for place, some in enumerate(cut, 1):
        last = "" if len(cut) == 1 else f" Part {place} of {len(cut)}."
        number = "" if place == 1 else f"-{place}"
        inner = latex.tabular(heads, some, align)
        yield latex.table(inner, latex.escape(caption + last), label + number, wide=True, size=r"\scriptsize")


def _cut(rows: Sequence[Sequence[str]]) -> Iterator[Sequence[Sequence[str]]]:
    """The rows in parts that fit a page, a row of a long last cell counted by its lines."""
    some: list[Sequence[str]] = []
    lines = 0
    for row in rows:
        tall = -(-len(row[-1]) // WIDE) or 1
        if some and lines + tall > ROWS:
            yield some
            some, lines = [], 0
        some.append(row)
        lines += tall
    if some:
        yield some


def _totals(study: Loaded) -> str:
    """What everything took: runs that are shown and runs that are not, trials, and the stages that all share."""
    spent, trials = (sum(_every_flop(cell) for cell in cells) for cells in (study.cells, study.trials))
    known = [cell for cell in study.cells if part(part(cell.record, "compute"), "canonical")]
    shared = sum(float(part(each.record, key).get("flops") or 0) for each in study.references for key in ("sft", "pairs"))
    said = (
        f"{latex.escape(findings.counts(study))}. Canonical FLOPs of {'all' if len(known) == len(study.cells) else len(known)} runs, "
        f"evaluation included: {latex.scientific(spent or math.nan)}"
    )
    return f"{said}; of {len(study.trials)} tuning trials: {latex.scientific(trials)}; of the shared stages: {latex.scientific(shared)}.\n"


def _every_flop(cell: Cell) -> float:
    return float(sum(part(part(cell.record, "compute"), "canonical").values()))


def _versions(study: Loaded) -> str:
    r"""Every version that records name, with how many records name it where they differ; devices, task and study.

    Long hashes break after every eighth digit alone; ``sloppypar`` lets the spaces of a line stretch to the next such place.
    """
    named = Counter((name, str(version)) for cell in study.cells for name, version in part(cell.record, "versions").items())
    texts = [f"{name} {version}{f' ({n} runs)' if n < len(study.cells) else ''}" for (name, version), n in sorted(named.items())]
    devices = Counter(str(cell.times.get("device", "")) or NOT_SAID for cell in study.cells)
    threads = counted(sorted({int(cell.times.get("threads") or 0) for cell in study.cells}))
    said = [
        f"Versions: {', '.join(texts) or NOT_SAID}.",
        f"Devices: {', '.join(f'{name} ({n} runs)' for name, n in sorted(devices.items())) or NOT_SAID}, threads of a run: {threads}.",
        f"Task version {study.experiment.get('task_version') or NOT_SAID}; study {study.experiment.get('study') or NOT_SAID}; "
        f"experiment {study.experiment.get('fingerprint') or NOT_SAID}; all records {records_digest((*study.references, *study.cells))}.",
    ]
    return "\n".join([r"\begin{sloppypar}", *map(latex.escape, said), r"\end{sloppypar}", ""])
