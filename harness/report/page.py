"""``report/``: one self-contained page, its figures as files, and table.csv. A pure function of the records: same records, same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.report import (
    drawing,
    figure_frontier,
    figure_training,
    findings,
    matching,
    section_comparisons,
    section_curves,
    section_frontier,
    section_judges,
    section_matched,
    section_overoptimisation,
    section_reward_model,
    section_safety,
    section_tuning,
    section_winrate,
    tables,
)
from harness.report.drawing import Drawing
from harness.report.escape import templates, visible
from harness.report.examples import examples
from harness.report.methods import METHODS
from harness.report.palette import Look, looks
from harness.report.points import Loaded, Point, every_point, interval_of, limit_of, load, points
from harness.report.section import Make
from harness.store.files import uncollected
from harness.store.records import RECORD, Study, write_bytes
from harness.training.ledger import UNITS

# The rooms of the page after Results, in order; each returns a section or None where a study has nothing for it.
SECTIONS: tuple[Make, ...] = (
    section_winrate.section,
    section_comparisons.section,
    section_frontier.section,
    section_overoptimisation.section,
    section_matched.section,
    section_curves.section,
    section_tuning.section,
    section_judges.section,
    section_safety.section,
    section_reward_model.section,
)

LEFT_OUT = {
    "frontier": "Figure 1 is left out: no finished cell has a KL together with a win rate or a gold reward.",
    "logps": "The log-prob curves are left out: no run logged chosen and rejected log-probs.",
    "proxy": "Proxy against gold is left out: no run logged both a proxy and a gold reward.",
}


@uncollected()
def write(study: Path | Loaded, **overrides: Any) -> Path:
    """Write the report of a study, or of the one in a folder, and return the page's path, ``study/report/index.html``.

    ``overrides`` replace values of the experiment that only the report reads, such as ``safety_margin``.
    """
    loaded = load(study) if isinstance(study, Path) else study
    loaded = replace(loaded, experiment={**loaded.experiment, **overrides}) if overrides else loaded
    folder = loaded.folder / "report"
    found = points(loaded)
    with drawing.style():
        figures = [figure(drawn, name, folder, findings.watermark(loaded)) for name, drawn in _drawings(loaded, found)]
        sections = list(_sections(loaded, found, folder))
        for each in [*figures, *(each for section in sections for each in section["figures"])]:
            each["svg"] = each["svg"]() if each["svg"] else ""
    write_bytes(folder / "table.csv", tables.csv(loaded).encode())
    page = folder / "index.html"
    write_bytes(page, render(loaded, found, figures, sections).encode())
    return page


def _sections(study: Loaded, found: list[Point], folder: Path) -> Iterator[dict[str, Any]]:
    """Every room that has something to say, its figures saved and ready for the template."""
    shown, mark = _looks(found), findings.watermark(study)
    for make in SECTIONS:
        section = make(study, found, shown)
        if section is not None:
            names = ("name", "title", "paragraphs", "tables", "cautions", "alarms")
            yield {name: getattr(section, name) for name in names} | {
                "figures": [figure(drawn, drawn.name, folder, mark) for drawn in section.figures]
            }


def _looks(found: Sequence[Point]) -> Mapping[str, Look]:
    """The look of every algorithm of these points."""
    return looks([(point.algorithm, point.control) for point in found], {point.algorithm for point in found if point.oracle})


def figure(drawn: Drawing | None, name: str, folder: Path, mark: str) -> dict[str, Any]:
    """Begin to save one figure; what the page says of it, its ``svg`` to be called for. One that cannot be drawn gives the reason."""
    if drawn is None:
        drawing.remove(name, folder / "figures")
        return {"name": name, "reason": LEFT_OUT[name], "svg": None}
    drawing.watermark(drawn.figure, mark)
    saved, alternative = drawing.start(drawn, folder / "figures"), visible(drawn.alternative)
    text = {"title": drawn.title, "caption": drawn.caption, "name": name, "reason": ""}
    return {key: visible(each) for key, each in text.items()} | {"svg": lambda: drawing.inline(saved(), name, alternative)}


def render(study: Study, found: list[Point], figures: list[dict[str, Any]], sections: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page's HTML. Everything but the figures' SVG is escaped by the template."""
    drawn = {each["name"]: each for each in [*figures, *(each for section in sections for each in section["figures"])]}
    return templates().get_template("template.html").render(**_context(study, found, sections), figures=drawn, sections=sections)


def _drawings(study: Study, found: list[Point]) -> Iterator[tuple[str, Drawing | None]]:
    """Figures by name, drawn one at a time."""
    shown = _looks(found)
    rows = figure_training.training_rows(found)
    yield "frontier", figure_frontier.draw(found, study.references, shown, study.frontiers)
    yield "logps", figure_training.draw_logps(rows, shown)
    yield "proxy", figure_training.draw_proxy(rows, shown)


def _context(study: Study, found: list[Point], sections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    main, components = tables.columns(study, tables.MAIN), tables.columns(study, tables.COMPONENTS, always=())
    has_gold = any(column.key == "gold" for column in components)
    head = study.cells[0].record if study.cells else {}
    return {
        "title": f"Preference optimisation on {head.get('task', {}).get('name', study.experiment.get('task', 'an unnamed task'))}",
        "watermark": findings.watermark(study),
        "what": _what(study, head),
        "counts": str(findings.counts(study)),
        "matching": matching.matching(every_point(study)),
        "cautions": [*findings.cautions(study), *(said for section in sections for said in section["cautions"])],
        "kl_caveat": findings.KL_CAVEAT,
        "kl_source": findings.KL_SOURCE,
        "interval": findings.interval_line(found),
        "main": tables.measured(study, main, costs=True),
        "components": tables.measured(study, components) if has_gold else None,
        "examples": examples(found),
        "alarms": [*findings.alarms(study), *(alarm for section in sections for alarm in section["alarms"])],
        "losses": findings.losses(study),
        "diagnostics": _diagnostics(found) + _judges(study),
        "methods": METHODS,
        "algorithms": _algorithms(found),
        "provenance": _provenance(study),
        "experiment": json.dumps(study.experiment, indent=1, sort_keys=True, ensure_ascii=False),
    }


def _what(study: Study, head: dict[str, Any]) -> list[tuple[str, str]]:
    """What was run, as name and text."""
    task, model = (head.get(key) or {} for key in ("task", "model"))
    seeds = sorted({cell.record.get("seed", 0) for cell in study.cells})
    return [
        ("Task", f"{task.get('name', '?')}, version {task.get('version', '?')}, source {task.get('source', '?')}"),
        *(("Note", str(note)) for note in study.experiment.get("notes") or task.get("notes", ())),
        *((("Model", f"{model.get('name', '?')}, {model.get('parameters', 0):,} parameters, {model.get('dtype', '?')}"),) if model else ()),
        ("Algorithms", ", ".join(sorted({cell.record["algorithm"]["name"] for cell in study.cells})) or "none"),
        ("Seeds", ", ".join(map(str, seeds)) or "none"),
        ("Budget", _budgets(study)),
    ]


def _budgets(study: Study) -> str:
    """Every budget that cells were given; where there are several, which of them the page shows."""
    given = {limit_of(cell.record): cell.record.get("budget") or {} for cell in study.cells}
    units = {limit: UNITS.get(str(each.get("match", "flops")), "?") for limit, each in given.items()}
    said = [f"{given[limit].get('spec', '?')}" + f" = {limit:.4g} {units[limit]} per cell" * bool(limit) for limit in sorted(given)]
    shown = "; tables and figures show the largest, curves show all" if len(said) > 1 else ""
    return ", ".join(said) + shown or f"{study.experiment.get('budget', '?')}"


def _diagnostics(found: list[Point]) -> list[tuple[str, str, str, str, str]]:
    """(algorithm, setting, seed, name, number) of what runs report of themselves, such as a reward model's held-out accuracy."""
    rows = []
    for point in found:
        for cell in point.cells:
            every = cell.record.get("diagnostics") or {}
            for name, recorded in sorted(every.items()):
                seed = str(cell.record.get("seed", 0))
                own_room = name in section_reward_model.QUALITY or (isinstance(recorded, dict) and "value" not in recorded)
                if not own_room:
                    rows.append((point.algorithm, point.setting, seed, name.replace("_", " "), _diagnostic(name, recorded, every)))
    return rows


def _judges(study: Study) -> list[tuple[str, str, str, str, str]]:
    """The held-out quality of what measures all cells of a seed: the proxy, or the reward model that judges where there is no gold."""
    rows = []
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


def _algorithms(found: list[Point]) -> list[tuple[str, str, str, str, str]]:
    """(name, family, source, conventions, sha256 of its file) per algorithm."""
    rows = {}
    for point in found:
        algorithm = point.head["algorithm"]
        conventions = ", ".join(f"{key} {each}" for key, each in (algorithm.get("conventions") or {}).items())
        family = f"{algorithm.get('family') or ''}{', control' if point.control else ''}{', oracle' if point.oracle else ''}"
        rows[point.algorithm] = (point.algorithm, family, str(algorithm.get("source") or ""), conventions, str(algorithm.get("hash") or ""))
    return list(rows.values())


def _provenance(study: Study) -> list[tuple[str, str, str]]:
    """(folder, fingerprint, sha256 of the record) of every record read."""
    found = []
    for cell in (*study.references, *study.cells):
        digest = hashlib.sha256((cell.folder / RECORD).read_bytes()).hexdigest()
        found.append((cell.folder.name, str(cell.record.get("fingerprint", "")), digest))
    return found
