"""The tables of docs/performance.md, made from the records beside it: ``python -m tests.bench.table`` writes them into the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench import records
from tests.bench.records import Finding

PAGE = records.ROOT / "docs" / "performance.md"
GROWTH = "growth"  # the record of exponents
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


def growth(found: Sequence[Mapping[str, Any]]) -> str:
    """A row for every factor: the exponents of its costs, over the whole range and over its upper half."""
    fitted = {f.what: str(f.value) for record, f in _findings(found, GROWTH) if record == GROWTH}
    if not fitted:
        return NONE
    figure = "![Seconds and memory against each factor, logarithmic axes, with exponents.](performance/growth.png)"
    head = [figure, "", "| factor | from, to | range | update | sampling | memory |", "|---|---|---|---|---|---|"]
    points = next(row["raw"]["points"] for row in found if row["name"] == GROWTH)
    for factor in dict.fromkeys(point["factor"] for point in points):
        amounts = [point["value"] for point in points if point["factor"] == factor]
        for part in ("whole range", "upper half"):
            cells = [fitted[f"{cost}, {factor}, {part}"] for cost in ("update", "sampling", "memory")]
            head.append(f"| {factor} | {min(amounts):,} to {max(amounts):,} | {part} | {' | '.join(cells)} |")
    return "\n".join(head)


def conditions(found: Sequence[Mapping[str, Any]]) -> str:
    """A row for every record: when, on what machine and with what versions it was made."""
    head = ["| record | date | machine | threads | load | seconds | versions |", "|---|---|---|---|---|---|---|"]
    rows = [f"| [{row['name']}](performance/{row['name']}.json) | {row['date']} | {_machine(row)} | {_versions(row)} |" for row in found]
    return "\n".join([*head, *rows]) if rows else NONE


def page(text: str, found: Sequence[Mapping[str, Any]]) -> str:
    """The page with every generated part new."""
    for name, part in (
        ("goals", goals(found)),
        ("other numbers", others(found)),
        ("growth", growth(found)),
        ("conditions", conditions(found)),
    ):
        text = replaced(text, name, part)
    return text


def _findings(found: Sequence[Mapping[str, Any]], also: str = "") -> Iterator[tuple[str, Finding]]:
    """Every finding with its record's name; exponents, which have a table of their own, only where asked for."""
    for row in found:
        if row["name"] == GROWTH and also != GROWTH:
            continue
        yield from ((row["name"], Finding.read(finding)) for finding in row["findings"])


def _value(finding: Finding) -> str:
    return f"{finding.value} {finding.unit}".strip()


def _goal(finding: Finding) -> str:
    return f"{'at least' if finding.good == 'above' else 'at most'} {finding.goal:g} {finding.unit}".strip()


def _reached(finding: Finding) -> str:
    return "yes" if finding.reached else "**no**"


def _machine(row: Mapping[str, Any]) -> str:
    machine = row["machine"]
    extra = "" if machine["accelerator"] == "none" else f", {machine['accelerator']}"
    return f"{machine['processor']}, {machine['cores']} cores{extra} | {machine['threads']} | {machine['load']} | {machine['clock']}"


def _versions(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in row["versions"].items())


def main(path: Path = PAGE) -> None:
    """Write the parts into the page."""
    path.write_text(page(path.read_text(encoding="utf-8"), records.read()), encoding="utf-8")


if __name__ == "__main__":
    main()
