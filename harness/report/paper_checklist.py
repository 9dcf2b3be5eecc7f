r"""Answers for a reproducibility checklist in the form of NeurIPS: what the records can answer, and what only the authors can.

A record knows what was run, how often, on what and with which spread. It knows nothing of a paper's claims, ethics or licences: those
items stay open, and say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.report import findings, latex
from harness.report.figure_compute import hour_unit, hours_by_stage
from harness.report.paper_appendix import records_digest
from harness.report.paper_methods import NOT_SAID, counted, part
from harness.report.points import Loaded, points

PREAMBLE = r"""\providecommand{\answerYes}[1][]{[Yes] #1}
\providecommand{\answerNo}[1][]{[No] #1}
\providecommand{\answerTODO}[1][]{[TODO] #1}
"""
OPEN = "For the authors: the records do not say."
AUTHORS = {
    "Claims": OPEN,
    "Theory assumptions and proofs": OPEN,
    "Open access to data and code": OPEN,
    "Code of ethics": OPEN,
    "Broader impacts": OPEN,
    "Safeguards": OPEN,
    "Licenses for existing assets": OPEN,
    "New assets": OPEN,
    "Crowdsourcing and research with human subjects": OPEN,
    "Institutional review board approvals": OPEN,
    "Declaration of LLM usage": OPEN,
}
ORDER = (
    *("Claims", "Limitations", "Theory assumptions and proofs", "Experimental result reproducibility", "Open access to data and code"),
    *("Experimental setting/details", "Experiment statistical significance", "Experiments compute resources", "Code of ethics"),
    *("Broader impacts", "Safeguards", "Licenses for existing assets", "New assets", "Crowdsourcing and research with human subjects"),
    *("Institutional review board approvals", "Declaration of LLM usage"),
)


class Answer(NamedTuple):
    """An answer with its grounds, both LaTeX: ``answer`` is one of Yes, No and TODO."""

    item: str
    answer: str
    grounds: str


def checklist(studies: Sequence[Loaded]) -> str:
    """The items of the checklist in its order, those of all studies together."""
    found = {each.item: each for each in _answers([study for study in studies if points(study)])}
    found = {name: Answer(name, "TODO", grounds) for name, grounds in AUTHORS.items()} | found
    lines = [rf"\item \textbf{{{name}}}: \answer{found[name].answer}{{}} {found[name].grounds}" for name in ORDER if name in found]
    return PREAMBLE + "\n".join([r"\begin{enumerate}", *lines, r"\end{enumerate}"]) + "\n"


def _answers(studies: Sequence[Loaded]) -> Iterator[Answer]:
    if not studies:
        return
    cautions = dict.fromkeys(said for study in studies for said in findings.cautions(study))
    yield Answer("Limitations", "TODO", "What may not be concluded from the records: " + " ".join(map(latex.escape, cautions)))
    yield _reproducible(studies)
    yield _settings(studies)
    yield _significance(studies)
    yield _resources(studies)


def _settings(studies: Sequence[Loaded]) -> Answer:
    """Yes where every run was made here: of what was trained elsewhere the settings are not known."""
    foreign = sorted({point.algorithm for study in studies for point in points(study) if point.foreign})
    said = "All settings of every run, its seeds and budget are in the appendix; the methods paragraph says how settings were chosen. "
    said += f"Not known of what was trained elsewhere: {', '.join(foreign)}." if foreign else ""
    return Answer("Experimental setting/details", "No" if foreign else "Yes", latex.escape(said.strip()))


def _reproducible(studies: Sequence[Loaded]) -> Answer:
    """Yes where every record names the code that made it."""
    records = [cell.record for study in studies for cell in study.cells]
    named = all(part(record, "versions") and part(record, "algorithm").get("hash") for record in records)
    digest = records_digest([cell for study in studies for cell in (*study.references, *study.cells)])
    said = "Some records name no version or no hash of their algorithm's file; "
    if named:
        said = f"{len(records)} records with the hash of each algorithm's file, the task's version, library versions, settings and seeds; "
    return Answer("Experimental result reproducibility", "Yes" if named else "No", latex.escape(f"{said}sha256 of all records {digest}."))


def _significance(studies: Sequence[Loaded]) -> Answer:
    """Yes where several seeds stand behind every interval; one seed leaves the training run out, which is a No."""
    found = [point for study in studies for point in points(study)]
    seeds = [len(point.cells) for point in found]
    kinds = "; ".join(dict.fromkeys(findings.interval_line(points(study)).rstrip(".") for study in studies if points(study)))
    said = f"Win rates, rewards, KL and refusals have intervals and n ({counted(seeds)} seed{'s' * (max(seeds) > 1)}): {kinds}."
    said += f" {findings.seeds_line(found)}" if findings.seeds_line(found) else ""
    return Answer("Experiment statistical significance", "Yes" if min(seeds) > 1 else "No", latex.escape(said))


def _resources(studies: Sequence[Loaded]) -> Answer:
    """Device, hours and memory of all runs, lost ones and trials included; No where a run kept no times."""
    cells = [cell for study in studies for cell in (*study.cells, *study.trials, *study.references)]
    timed, unit = all(cell.times for cell in cells), hour_unit(cells)
    hours = sum(sum(hours_by_stage(cell).values()) for cell in cells)
    devices = ", ".join(sorted({str(cell.times.get("device") or NOT_SAID) for cell in cells}))
    memory = max((float(cell.times.get("peak_memory_bytes") or 0) for cell in cells), default=0.0) / 1e6
    total = f"{hours:.3g} {unit}" if unit else "hours of several kinds of device are not added up" if timed else f"hours {NOT_SAID}"
    most = f"{memory:.0f} MB" if memory else NOT_SAID
    said = f"Devices: {devices}; all {len(cells)} runs, trials and references that were kept: {total}; most memory of one process: {most}. "
    said += "Runs that were deleted are not counted."
    return Answer("Experiments compute resources", "Yes" if timed else "No", latex.escape(said))
