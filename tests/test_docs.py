"""What the pages say of names, grids, keys and prices is what the code has."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.shapes import shape
from harness.planning.budget import budget_flops
from harness.planning.experiment import resolve
from harness.planning.price import pair_forward
from harness.plugins import laws, registry
from harness.plugins.registry import Entry
from harness.report import tables
from harness.training.names import NAMES
from tasks.tldr import task
from tasks.worlds import tldr_gold

ROOT = Path(__file__).parents[1]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def row(name: str, first: str) -> str:
    """The row of a table whose first cell is this name in code."""
    return next((line for line in page(name).splitlines() if line.startswith(f"| `{first}` |")), "")


@pytest.mark.parametrize("entry", registry.describe("algorithms"), ids=lambda entry: entry.name)
def test_every_algorithm_has_a_row_with_its_grid(entry: Entry) -> None:
    found = row("docs/algorithms.md", entry.name)
    assert found
    for knob, values in entry.declaration.grid.items():
        assert f"`{knob}` {', '.join(f'{value:g}' for value in values)} " in found


def test_every_metric_of_a_report_and_of_gold_is_defined() -> None:
    text = page("docs/metrics.md")
    keys = {column.key for column in tables.MAIN} | {"gold", *tables.COMPONENTS, *tldr_gold.COMPONENTS}
    assert {key for key in keys if f"`{key}`" not in text} == set()


def test_every_name_that_a_loss_may_ask_for_is_listed() -> None:
    assert {name for name in NAMES if f"`{name}`" not in page("ARCHITECTURE.md")} == set()


def test_the_worked_price_is_the_default_budget() -> None:
    world = task()
    size, given = shape("tiny-128", len(world.vocabulary)), resolve({"task": "tldr"}, None, world.defaults)
    text, forward = page("docs/compute.md"), pair_forward(size, world.typical_tokens)
    prompt, response = map(round, world.typical_tokens)
    assert f"B = {size.blocks:,}, H = {size.head:,}, L = {size.layers}, d = {size.width}, p = {prompt}, r = {response}" in text
    assert f"F = {forward:,.0f} and {given.pairs} pairs at `{given.budget[0]}` are" in text
    assert f"are {budget_flops(given.budget[0], given, size, world.typical_tokens):.4g} FLOPs".replace("e+", "e") in text


def test_the_loss_of_the_contributing_page_loads_and_keeps_the_laws(tmp_path: Path) -> None:
    code = page("CONTRIBUTING.md").partition("```python\n")[2].partition("```")[0]
    (tmp_path / "contributed.py").write_text(code)
    assert laws.violations(registry.load("algorithms", str(tmp_path / "contributed.py")).algorithm) == []
