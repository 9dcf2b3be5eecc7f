"""docs/laws.md is what the registry says now, and a table that could not say "broken" would be worth nothing."""

from dataclasses import replace
from pathlib import Path

from harness.plugins import law_table, laws, registry
from harness.training.preference import PreferenceLoss

PAGE = Path(__file__).parents[1] / "docs" / "laws.md"


def dpo() -> PreferenceLoss:
    loss = registry.load("algorithms", "dpo").algorithm
    assert isinstance(loss, PreferenceLoss)
    return loss


def test_the_page_is_current_and_nothing_on_it_is_broken() -> None:
    """Print it anew with ``python -m harness.plugins.law_table > docs/laws.md``."""
    assert PAGE.read_text(encoding="utf-8") == law_table.page()
    assert "**broken**" not in PAGE.read_text(encoding="utf-8")


def test_a_cell_says_what_is_broken_and_why_a_law_does_not_hold() -> None:
    turned = replace(dpo(), loss=lambda **named: -dpo().loss(**named))
    assert law_table._cell(turned, laws.first_step_prefers_chosen).startswith("**broken**: the first step does not raise")
    assert law_table._cell(replace(dpo(), has_nll=True), laws.only_ratios_matter) == "exempt: a likelihood term"
    assert law_table._cell(dpo(), laws.only_ratios_matter) == "kept"
