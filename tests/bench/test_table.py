"""The tables of docs/performance.md say what the records beside it say."""

from __future__ import annotations

import math

import pytest

from tests.bench import growth, records, table
from tests.bench.records import Finding
from tests.bench.speed import Value


def made() -> dict[str, object]:
    findings = [Finding("fast", Value(2, 1.5, 3, 7), "x", "peer", 4.0), Finding("ours", Value(9, 8, 10, 7), "pairs/s")]
    return records.record("toy", findings, {})


def test_the_page_is_what_the_records_make() -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    assert table.page(text, records.read()) == text


def test_a_missed_goal_stands_in_the_table() -> None:
    text = "".join("\n".join(table.marks(name)) for name in ("goals", "other numbers", "growth", "conditions"))
    page = table.page(text, [made()])
    assert "| fast | 2 [1.5, 3] (n 7) x | at least 4 x | **no** | peer |" in page
    assert "| ours | 9 [8, 10] (n 7) pairs/s |  |" in page
    assert "[toy](performance/toy.json)" in page
    assert table.page(page, [made()]) == page


def test_exponents_have_a_table_of_their_own() -> None:
    points = [
        {"factor": factor, "value": value, "update": value**2.0, "sampling": 3.0 * value, "memory": 5 * value**0.5}
        for factor, values in growth.RANGES.items()
        for value in range(1, 1 + len(values))
    ]
    grown = records.record("growth", growth.findings(points), {"points": points})
    assert "| prompt | 1 to 6 | upper half | 2 [2, 2] (n 3) | 1 [1, 1] (n 3) | 0.5 [0.5, 0.5] (n 3) |" in table.growth([grown])
    assert table.others([grown]) == table.goals([grown]) == table.NONE


def test_an_exponent_has_the_interval_of_a_regression() -> None:
    """y = x^2 times e^(.1, -.2, .1) at x = 1, e, e^2: slope 2, residual variance .06 / 1, standard error sqrt(.06 / 2), t(1) 12.71."""
    amounts = [math.exp(i) for i in range(3)]
    fit = growth.exponent(amounts, [x**2 * math.exp(e) for x, e in zip(amounts, (0.1, -0.2, 0.1), strict=True)])
    assert fit.median == pytest.approx(2)
    assert fit.high - fit.median == pytest.approx(12.7062 * math.sqrt(0.03), rel=1e-4)


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no part 'goals'"):
        table.page("nothing", [])


def test_every_name_of_a_table_is_new() -> None:
    """Two findings of one name would be two numbers for one thing."""
    names = [Finding.read(row).what + row["against"] for record in records.read() for row in record["findings"]]
    assert len(names) == len(set(names))
