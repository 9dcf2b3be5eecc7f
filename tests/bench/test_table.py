"""The tables of docs/performance.md say what the records beside it say."""

from __future__ import annotations

import pytest

from tests.bench import records, table
from tests.bench.records import Finding
from tests.bench.speed import Value


def made() -> dict[str, object]:
    findings = [Finding("fast", Value(2, 1.5, 3, 7), "x", "peer", 4.0), Finding("ours", Value(9, 8, 10, 7), "pairs/s")]
    return records.record("toy", findings, {})


def test_the_page_is_what_the_records_make() -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    assert table.page(text, records.read()) == text


def test_a_missed_goal_stands_in_the_table() -> None:
    text = "".join("\n".join(table.marks(name)) for name in ("goals", "other numbers", "conditions"))
    page = table.page(text, [made()])
    assert "| fast | 2 [1.5, 3] (n 7) x | at least 4 x | **no** | peer |" in page
    assert "| ours | 9 [8, 10] (n 7) pairs/s |  |" in page
    assert "[toy](performance/toy.json)" in page
    assert table.page(page, [made()]) == page


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no part 'goals'"):
        table.page("nothing", [])


def test_every_name_of_a_table_is_new() -> None:
    """Two findings of one name would be two numbers for one thing."""
    names = [Finding.read(row).what + row["against"] for record in records.read() for row in record["findings"]]
    assert len(names) == len(set(names))
