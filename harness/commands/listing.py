"""What ``harness list`` prints. Plug-ins are read, not imported, unless asked; runs are read from their records."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from harness.errors import HarnessError
from harness.plugins import effort, registry
from harness.plugins.registry import Entry
from harness.report.escape import visible
from harness.store import records


def plugins(kind: str, *, check: bool = False) -> list[str]:
    """One line per plug-in: name, what it is, its grid and aliases; an unusable one says why and stops nothing."""
    entries = registry.describe(kind)
    width = max((len(entry.name) for entry in entries), default=0)
    return [f"{entry.name:<{width}}  {_about(entry, check)}" for entry in entries]


def runs(results: Path) -> list[str]:
    """One line per study below a folder: how many of its cells have which status."""
    return [f"{folder.name}  {_counts(folder)}" for folder in records.studies(results)]


def _about(entry: Entry, check: bool) -> str:
    problem = registry.check(entry) if check else entry.problem
    if problem:
        return f"cannot be used: {problem}"
    declared = entry.declaration
    grid = "; ".join(f"{knob} = {', '.join(map(str, values))}" for knob, values in declared.grid.items())
    searched = f"searched: {', '.join(declared.search)}" if declared.search else ""
    also = f"also {', '.join(declared.aliases)}" if declared.aliases else ""
    oracle = "(oracle: trains on what judges it, ranked with nothing)" if declared.metadata.get("oracle") is True else ""
    origin = "" if entry.module.partition(".")[0] == entry.kind else f"from {entry.module or entry.path}"
    ran = _effort(entry) if entry.kind == "algorithms" else ""
    return "  ".join(filter(None, [declared.summary, f"[{grid}]" if grid else "", searched, also, oracle, ran, origin]))


def _effort(entry: Entry) -> str:
    """Family, source, what it needs and what it costs per response token, as far as its file says so."""
    declared = entry.declaration
    said = [str(declared.metadata.get("family", "offline")), str(declared.metadata.get("source", "")).strip()]
    said += [f"needs {', '.join(found)}" if (found := effort.needs(declared)) else "needs pairs alone"]
    said += [f"FLOPs per token: {price}" if (price := effort.cost(declared)) else ""]
    return f"({'; '.join(filter(None, said))})"


def _counts(folder: Path) -> str:
    try:
        study = records.read(folder)
    except HarnessError as error:
        return visible(str(error), lines=False)
    statuses = Counter(str(cell.record.get("status")) for cell in study.cells)
    statuses.update(unfinished=len(study.unfinished), unreadable=len(study.skipped))
    return ", ".join(f"{count} {visible(status, lines=False)}" for status, count in sorted(statuses.items()) if count) or "no cell yet"
