"""What ``harness report`` does: studies read and joined, each written as a page or together as what a paper needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.report import bibliography, combining, drawing, page, paper, robustness, styles
from harness.report.beside import Beside
from harness.report.points import Loaded, load
from harness.report.styles import Sheet
from harness.store import ahead, archives
from harness.store.files import uncollected, write_json
from harness.store.records import SAMPLES, sample_rows, studies

BIBLIOGRAPHIES = "references.bib"  # beside the algorithms of a package


class Wanted(NamedTuple):
    """The formats that are asked for, and the sheet of a paper's figures."""

    formats: Sequence[str]
    sheet: Sheet


def wanted(formats: str, style: str, columns: int) -> Wanted:
    """What was typed, checked before anything is read; HarnessError naming the value, what is legal and the nearest."""
    return Wanted(paper.formats(formats), styles.paper(style, columns))


def write(
    roots: Sequence[Path], what: Wanted, out: Path | None, overrides: Mapping[str, Any], *, leave_out_newer: bool = False
) -> Iterator[str | HarnessError]:
    """Write every report; a line for each that stands and an error for each that does not, as they come about.

    ``overrides`` replace values of the experiments that only a report reads. A study with records of a newer schema is an error, unless
    they are to be left out.
    """
    if len(roots) > 1 and out is None:
        raise HarnessError("Several result folders are merged into one report; say with --out DIR where it goes.")
    if out is None and archives.packs(roots[0]):
        raise HarnessError(f"{roots[0]} is an archive; say with --out DIR where its report goes.")
    with uncollected(), archives.unpacked(roots, _meanwhile) as folders:
        yield from _write(folders, what, out, overrides, leave_out_newer=leave_out_newer)


def _write(
    roots: Sequence[Path], what: Wanted, out: Path | None, overrides: Mapping[str, Any], *, leave_out_newer: bool
) -> Iterator[str | HarnessError]:
    if list(what.formats) == ["html"] and len(roots) == 1:
        yield from _one_by_one(roots[0], out, overrides, leave_out_newer=leave_out_newer)
        return
    found = combining.combined(roots, leave_out_newer=leave_out_newer)
    yield from found.problems
    parts = [paper.Part(label, _overridden(study, overrides)) for label, study in found.studies]
    tex: Callable[[], dict[str, str]] = cache(partial(paper.texts, parts, what.sheet, _known())) if "latex" in what.formats else dict
    if "html" in what.formats:
        pages = _pages([(part.study, out and _below(out, part.label, len(parts))) for part in parts], tex)
        yield from (f"Report: {written.path}" for written in pages)
        parts = [part._replace(numbers=written.numbers, table=written.table) for part, written in zip(parts, pages, strict=True)]
    if (rest := {*what.formats} - {"html"}) and parts:
        folder = out or _beside(roots[0])
        yield f"Paper: {folder} ({len(paper.write(parts, folder, rest, what.sheet, tex()))} files)"
    yield from (f"Left out: {line}" for line in found.left_out)


def _meanwhile(do: archives.Do, progress: Path) -> archives.Do:
    """Begin to unpack, and read meanwhile what drawing needs and the samples that are there already: seconds that would be lost."""
    beside = Beside(lambda: None, niceness=0)
    wait = beside.start(do)
    drawing.warm()

    def read_and_wait() -> None:
        ahead.follow(progress, beside.busy, SAMPLES, sample_rows)
        wait()

    return read_and_wait


def _one_by_one(root: Path, out: Path | None, overrides: Mapping[str, Any], *, leave_out_newer: bool) -> Iterator[str | HarnessError]:
    """A page for each study below a folder, one at a time, as samples of many would not fit into memory."""
    folders = combining.below(root)
    for folder in folders:
        try:
            study = load(folder)
            if not leave_out_newer:
                combining.refuse_newer(study)
            placed = _placed(_overridden(study, overrides), out and _below(out, folder.name, len(folders)))
            yield f"Report: {page.write(placed)}"
        except HarnessError as error:  # of one study; the others have their report all the same
            yield error
    if out is None and (side_by_side := robustness.write(root)):
        yield f"Robustness: {side_by_side}"


def _pages(wanted: Sequence[tuple[Loaded, Path | None]], meanwhile: Callable[[], object]) -> list[page.Written]:
    """The page of every study in its place: that of the most runs by this process, those of the others beside it.

    What is to be done anyway is done ``meanwhile``, before this process draws: figures are what other processes can take off it.
    """
    longest = max(range(len(wanted)), key=lambda number: len(wanted[number][0].cells), default=0)
    with TemporaryDirectory() as scratch:
        notes = [Path(scratch) / f"{number}.json" for number in range(len(wanted))]
        beside, others = Beside(drawing.warm), [number for number in range(len(wanted)) if number != longest]
        waited = {number: beside.begin(partial(_noted, *wanted[number], notes[number]), notes[number]) for number in others}
        finish = {longest: page.begun(_placed(*wanted[longest]), beside)} if wanted else {}
        meanwhile()
        made = {number: finished() for number, finished in finish.items()}
        told = {number: json.loads(text()) for number, text in waited.items()}
    made |= {number: page.Written(Path(each["path"]), each["numbers"], each["table"]) for number, each in told.items()}
    return [made[number] for number in range(len(wanted))]


def _noted(study: Loaded, place: Path | None, note: Path) -> None:
    """Write a study's page, and into a file what was written, for another process."""
    written = page.written(_placed(study, place))
    write_json(note, {**written._asdict(), "path": str(written.path)})


def _placed(study: Loaded, place: Path | None) -> Loaded:
    """The study, whose page goes into its own folder or, where one is named, into another."""
    return study if place is None else replace(study, folder=place)


def _below(out: Path, label: str, count: int) -> Path:
    return out if count == 1 else out / label


def _overridden(study: Loaded, overrides: Mapping[str, Any]) -> Loaded:
    return replace(study, experiment={**study.experiment, **overrides}) if overrides else study


def _beside(root: Path) -> Path:
    """Where a paper's files go when nobody says: into a study's report, or beside several studies."""
    return root / "report" / "paper" if studies(root) == [root] else root / "paper"


def _known() -> dict[str, str]:
    """Entries of the bibliographies that stand beside the installed algorithms, by key."""
    from harness.plugins import registry

    files = {entry.path.parent / BIBLIOGRAPHIES for entry in registry.describe("algorithms") if entry.path}
    return {key: text for file in sorted(files) if file.is_file() for key, text in bibliography.entries(file.read_text("utf-8")).items()}
