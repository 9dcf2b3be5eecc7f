"""The tables of docs/performance.md, made from the records beside it: ``python -m tests.bench.table`` writes them into the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench import records
from tests.bench.records import Finding

PAGE = records.ROOT / "docs" / "performance.md"
NONE = "No measurement is committed yet."


def marks(name: str) -> tuple[str, str]:
    """What stands before and after a generated part of the page."""
    return f"<!-- {name}: made by python -m tests.bench.table -->", f"<!-- end of {name} -->"


def replaced(text: str, name: str, part: str) -> str:
    """The page with this part new; raises ValueError where the page has no place for it."""
    begin, end = marks(name)
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"no part {name!r} in the page")
    return f"{before}{begin}\n{part}\n{end}{after}"


def goals(found: Sequence[Mapping[str, Any]]) -> str:
    """A row for every finding that has a goal: what was found, the goal, what it was measured against."""
    rows = [finding for _, finding in _findings(found) if finding.goal is not None]
    if not rows:
        return NONE
    head = ["| what | found | goal | reached | against |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(f"| {f.what} | {_value(f)} | {_goal(f)} | {_reached(f)} | {f.against} |" for f in rows)])


def others(found: Sequence[Mapping[str, Any]]) -> str:
    """A row for every finding without a goal."""
    rows = [finding for _, finding in _findings(found) if finding.goal is None]
    head = ["| what | found | against |", "|---|---|---|"]
    return "\n".join([*head, *(f"| {f.what} | {_value(f)} | {f.against} |" for f in rows)]) if rows else NONE


def conditions(found: Sequence[Mapping[str, Any]]) -> str:
    """A row for every record: when, on what machine and with what versions it was made."""
    head = ["| record | date | machine | threads | load | versions |", "|---|---|---|---|---|---|"]
    rows = [
        f"| [{row['name']}](performance/{row['name']}.json) | {row['date']} | {_machine(row['machine'])} | {row['machine']['threads']} "
        f"| {row['machine']['load']} | {', '.join(f'{name} {version}' for name, version in row['versions'].items())} |"
        for row in found
    ]
    return "\n".join([*head, *rows]) if rows else NONE


def page(text: str, found: Sequence[Mapping[str, Any]]) -> str:
    """The page with every generated part new."""
    for name, part in (("goals", goals(found)), ("other numbers", others(found)), ("conditions", conditions(found))):
        text = replaced(text, name, part)
    return text


def _findings(found: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Finding]]:
    for row in found:
        yield from ((row["name"], Finding.read(finding)) for finding in row["findings"])


def _value(finding: Finding) -> str:
    return f"{finding.value} {finding.unit}".strip()


def _goal(finding: Finding) -> str:
    return f"{'at least' if finding.good == 'above' else 'at most'} {finding.goal:g} {finding.unit}".strip()


def _reached(finding: Finding) -> str:
    return "yes" if finding.reached else "**no**"


def _machine(machine: Mapping[str, Any]) -> str:
    extra = "" if machine["accelerator"] == "none" else f", {machine['accelerator']}"
    return f"{machine['processor']}, {machine['cores']} cores{extra}"


def main(path: Path = PAGE) -> None:
    """Write the parts into the page."""
    path.write_text(page(path.read_text(encoding="utf-8"), records.read()), encoding="utf-8")


if __name__ == "__main__":
    main()
