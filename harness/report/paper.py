"""What a paper takes from a study: figures at a column's width with their data, tables, macros, references; from the records alone.

The same records give the same bytes on any day and in any folder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError, near
from harness.report import (
    bibliography,
    drawing,
    findings,
    latex,
    macros,
    page,
    paper_appendix,
    paper_checklist,
    paper_figures,
    paper_files,
    paper_methods,
    paper_tables,
    robustness,
    rows,
)
from harness.report.comparing import baseline, comparisons
from harness.report.drawing import Drawing
from harness.report.palette import Look, looks
from harness.report.points import Loaded, points
from harness.report.styles import Sheet
from harness.store.files import uncollected
from harness.store.records import write_bytes

FORMATS = ("html", "pdf", "latex", "csv")
HEADER = "% Written by harness report from records alone; edits are lost when it is written again.\n"

Rows = Sequence[Mapping[str, Any]]

CLEAR = "\n\\clearpage\n"  # between studies: TeX keeps 52 floats that no page has taken yet


class Part(NamedTuple):
    """A study of a paper under the label that its files, its macros and its tables carry.

    ``numbers`` are those in its figures by name, as CSV, and ``table`` its rows, where a page has them already: they are the same on every
    sheet.
    """

    label: str
    study: Loaded
    numbers: Mapping[str, str] = {}
    table: Rows = ()


def formats(text: str) -> list[str]:
    """The formats in a list such as ``pdf,latex``, each once; HarnessError for one that there is not."""
    found = list(dict.fromkeys(word.strip().lower() for word in text.split(",") if word.strip()))
    for each in found or [text]:
        if each not in FORMATS:
            raise HarnessError(f"Unknown format {each!r}.{near(each, FORMATS)} Legal: {', '.join(FORMATS)}.")
    return found


@uncollected()
def write(parts: Sequence[Part], out: Path, wanted: Collection[str], sheet: Sheet, tex: Mapping[str, str] | None = None) -> list[Path]:
    """Write a paper's files below ``out`` and return their paths, in order of their names.

    What an earlier report wrote of the same kinds and this one does not is removed; other files there are left alone.

    ``wanted`` are formats but html; ``tex`` are the ``texts`` where they were made before. One algorithm has one look in all the figures.
    """
    made, floats = _figures(parts, sheet, wanted) if {"pdf", "csv"} & {*wanted} else ({}, [])
    if "csv" in wanted:
        table = [{**row, "study": part.label} for part in parts for row in part.table or rows.rows(part.study)]
        made["table.csv"] = drawing.table(table).encode()
    if "latex" in wanted:
        shown = {"figures.tex": HEADER + CLEAR.join(floats)} if "pdf" in wanted else {}
        made |= {name: text.encode("ascii") for name, text in {**(texts(parts, sheet) if tex is None else tex), **shown}.items()}
    for name, content in made.items():
        write_bytes(out / name, content)
    paper_files.listed(out, made)
    return [out / name for name in sorted(made)]


def shared_looks(parts: Sequence[Part]) -> Mapping[str, Look]:
    """One look per algorithm of all parts together."""
    found = [point for part in parts for point in points(part.study)]
    return looks([(point.algorithm, point.control) for point in found], {point.algorithm for point in found if point.hollow})


def drawings(study: Loaded, shown: Mapping[str, Look]) -> Iterator[Drawing]:
    """Every figure that the page has of a study, drawn on the sheet whose style is set, one at a time."""
    found = points(study)
    yield from (drawn for _, drawn in page.drawings(study, found, shown) if drawn is not None)
    for make in (*page.SECTIONS, *page.TRAINING):
        section = None if make in page.TABLES_ALONE else make(study, found, shown)
        yield from section.figures if section else ()


def _figures(parts: Sequence[Part], sheet: Sheet, wanted: Collection[str]) -> tuple[dict[str, bytes], list[str]]:
    """The files of the figures of each part, and of those of studies that differ only in what they assume; the floats that show them."""
    shown, made, floats = shared_looks(parts), dict[str, bytes](), list[str]()
    with drawing.style(sheet):
        for part in parts:
            before = f"{part.label}-" if len(parts) > 1 else ""
            if part.numbers and "pdf" not in wanted:
                made |= {f"figures/{before}{name}.csv": found.encode() for name, found in part.numbers.items()}
                continue
            drawn, captions = _drawn(_watermarked(part.study, shown), part.label, before, sheet, wanted)
            made, floats = made | drawn, [*floats, *captions]
        drawn, captions = _drawn(robustness.drawings([part.study for part in parts], shown), "", "", sheet, wanted)
    return made | drawn, [*floats, *captions]


def _drawn(
    figures: Iterable[Drawing], label: str, before: str, sheet: Sheet, wanted: Collection[str]
) -> tuple[dict[str, bytes], list[str]]:
    """The files of figures whose names begin so, and one text with their floats, if there are any."""
    made: dict[str, bytes] = {}
    captions = []
    for drawn in figures:
        name = f"figures/{before}{drawn.name}"
        made |= _files(name, drawn, wanted)
        captions.append(paper_figures.environment(name, label, drawn, wide=not sheet.stacked))
    return made, ["\n".join(captions)] if captions else []


def _watermarked(study: Loaded, shown: Mapping[str, Look]) -> Iterator[Drawing]:
    for drawn in drawings(study, shown):
        drawing.watermark(drawn.figure, findings.watermark(study))
        yield drawn


def _files(name: str, drawn: Drawing, wanted: Collection[str]) -> dict[str, bytes]:
    """A figure's files: the numbers in it as CSV and, where wanted, the PDF."""
    files = {f"{name}.csv": drawing.table(drawn.rows).encode()}
    return files | ({f"{name}.pdf": drawing.rendered(drawn.figure, "pdf")} if "pdf" in wanted else {})


def texts(parts: Sequence[Part], sheet: Sheet, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """The LaTeX files by name, but for the one that shows figures; ``known`` are BibTeX entries by key."""
    found = [point for part in parts for point in points(part.study)]
    made = {"macros.tex": macros.file([each for part in parts for each in _macros(part)])}
    made["references.bib"] = bibliography.bibliography(found, known or {})
    made["methods.tex"] = "\n".join(paper_methods.paragraph(part.study) for part in parts)
    made["appendix.tex"] = latex.FIT + CLEAR.join(paper_appendix.appendix(part.study, part.label) for part in parts)
    made["checklist.tex"] = paper_checklist.checklist([part.study for part in parts])
    for part in parts:
        narrow = sheet.stacked
        tables = {"results": paper_tables.results(part.study, part.label, narrow=narrow)}
        tables["comparisons"] = paper_tables.compared(part.study, part.label, narrow=narrow) or ""
        made |= {f"tables/{part.label}-{name}.tex": latex.FIT + text for name, text in tables.items() if text}
    return {name: (HEADER if name.endswith(".tex") else "") + text for name, text in made.items()}


def _macros(part: Part) -> Iterator[macros.Macro]:
    found = points(part.study)
    yield from macros.macros(part.label, found, comparisons(part.study, found), baseline(part.study, found))
