"""What was run and what a page was made from: task, model, budgets, algorithms, hashes of records, and what runs say of themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.report import findings, section_reward_model, tables
from harness.report.points import Point, interval_of, limit_of
from harness.report.section import Grid
from harness.store.records import RECORD, Study
from harness.training.ledger import UNITS

Texts = list[tuple[str, ...]]
DIAGNOSTICS = (
    "What runs report of themselves. Intervals over the held-out {0} (Wilson for an accuracy recorded without one), n {0}; counts have "
    "none, and confidence and calibration error were recorded without. A reward model that an algorithm trained on has its accuracy in the "
    "section on reward models."
)


def what(study: Study) -> list[tuple[str, str]]:
    """What was run, as name and text."""
    head = study.cells[0].record if study.cells else {}
    task, model = (head.get(key) or {} for key in ("task", "model"))
    seeds = sorted({cell.record.get("seed", 0) for cell in study.cells})
    return [
        ("Task", f"{task.get('name', '?')}, version {task.get('version', '?')}, source {task.get('source', '?')}"),
        *((("Model", f"{model.get('name', '?')}, {model.get('parameters', 0):,} parameters, {model.get('dtype', '?')}"),) if model else ()),
        ("Algorithms", ", ".join(sorted({cell.record["algorithm"]["name"] for cell in study.cells})) or "none"),
        ("Seeds", ", ".join(map(str, seeds)) or "none"),
        ("Budget", _budgets(study)),
        ("Cells", str(findings.counts(study))),
    ]


def notes(study: Study) -> list[str]:
    """What the task says of itself that a reader must know before any number, such as what its judge is."""
    task = study.cells[0].record.get("task") or {} if study.cells else {}
    return [str(note) for note in study.experiment.get("notes") or task.get("notes", ())]


def _budgets(study: Study) -> str:
    """Every budget that cells were given; where there are several, which of them the page shows."""
    given = {limit_of(cell.record): cell.record.get("budget") or {} for cell in study.cells}
    units = {limit: UNITS.get(str(each.get("match", "flops")), "?") for limit, each in given.items()}
    said = [f"{given[limit].get('spec', '?')}" + f" = {limit:.4g} {units[limit]} per cell" * bool(limit) for limit in sorted(given)]
    shown = "; tables and figures show the largest, curves show all" if len(said) > 1 else ""
    return ", ".join(said) + shown or f"{study.experiment.get('budget', '?')}"


def diagnostics(study: Study, found: Sequence[Point]) -> Grid | None:
    """What runs, and the models that measure them, report of themselves; None where none does."""
    rows = _of_runs(found) + _of_judges(study)
    units = section_reward_model.units_of(_recorded(study, found))
    return Grid(["algorithm", "setting", "seed", "diagnostic", "value"], rows, DIAGNOSTICS.format(units), 99) if rows else None


def _recorded(study: Study, found: Sequence[Point]) -> Iterator[Mapping[str, Any]]:
    """The diagnostics of every reward model, of runs and of what measures them."""
    yield from (cell.record.get("diagnostics") or {} for point in found for cell in point.cells)
    for reference in study.references:
        yield from (each for each in (reference.record.get("diagnostics") or {}).values() if isinstance(each, dict))


def _of_runs(found: Sequence[Point]) -> Texts:
    """(algorithm, setting, seed, name, number) of what runs report of themselves, such as a reward model's held-out accuracy."""
    rows: Texts = []
    for point in found:
        for cell in point.cells:
            every = cell.record.get("diagnostics") or {}
            for name, recorded in sorted(every.items()):
                seed = str(cell.record.get("seed", 0))
                own_room = name in section_reward_model.OWN or (isinstance(recorded, dict) and "value" not in recorded)
                if not own_room:
                    rows.append((point.algorithm, point.setting, seed, name.replace("_", " "), _diagnostic(name, recorded, every)))
    return rows


def _of_judges(study: Study) -> Texts:
    """The held-out quality of what measures all cells of a seed: the proxy, or the reward model that judges where there is no gold."""
    rows: Texts = []
    for reference in study.references:
        for model, quality in sorted((reference.record.get("diagnostics") or {}).items()):
            for name, recorded in sorted(quality.items()) if isinstance(quality, dict) else ():
                number = f"{name.replace('_', ' ')} of the {model}"
                rows.append(("SFT reference", "", str(reference.record.get("seed", 0)), number, _diagnostic(name, recorded, quality)))
    return rows


def _diagnostic(name: str, recorded: Any, every: Mapping[str, Any]) -> str:
    """A diagnostic with its interval and n where it has them or, a share of counted pairs, can have them, else the bare number."""
    if not isinstance(recorded, dict):
        return section_reward_model.bare(name, recorded, every) if isinstance(recorded, int | float) else str(recorded)
    number = tables.value(interval_of(recorded), 3)
    return f"{number.text} {number.bounds} {number.n}"


def algorithms(found: Sequence[Point]) -> Texts:
    """(name, family, source, conventions, sha256 of its file) per algorithm."""
    rows: dict[str, tuple[str, ...]] = {}
    for point in found:
        algorithm = point.head["algorithm"]
        conventions = ", ".join(f"{key} {each}" for key, each in (algorithm.get("conventions") or {}).items())
        family = f"{algorithm.get('family') or ''}{', control' if point.control else ''}{', oracle' if point.oracle else ''}"
        rows[point.algorithm] = (point.algorithm, family, str(algorithm.get("source") or ""), conventions, str(algorithm.get("hash") or ""))
    return list(rows.values())


def records(study: Study) -> Texts:
    """(folder, fingerprint, sha256 of the record) of every record read."""
    found: Texts = []
    for cell in (*study.references, *study.cells):
        digest = hashlib.sha256((cell.folder / RECORD).read_bytes()).hexdigest()
        found.append((cell.folder.name, str(cell.record.get("fingerprint", "")), digest))
    return found
