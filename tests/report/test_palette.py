"""One colour per algorithm in every report, and algorithms and phases that can be told apart in grey."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.plugins import registry
from harness.report import palette
from harness.report.palette import looks

# What tasks compare unasked, and the oracle. More algorithms than colours exist, so others may have to share one.
USUAL = {name for entry in registry.describe("tasks") for name in registry.load_entry(entry).task(None).defaults.algorithms}
BUILT_IN = [
    (f"{entry.name}{' (oracle)' if 'gold' in entry.name else ''}", bool(entry.declaration.metadata.get("control")))
    for entry in registry.describe("algorithms")
    if entry.name in {*USUAL, "ppo_gold"}
]


def grey(colour: str) -> float:
    """The luma of a colour, 0 to 1 (ITU-R BT.601), which is what a grey print keeps."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_a_usual_algorithm_looks_the_same_in_the_company_of_its_kind() -> None:
    everyone = looks(BUILT_IN)
    for count in (1, 2, 3):
        for some in itertools.combinations(BUILT_IN, count):
            assert all(look == everyone[name] for name, look in looks(some).items())
    ranked = [everyone[name].colour for name, control in BUILT_IN if not control]
    assert len(set(ranked)) == len(ranked)


@given(st.lists(st.text(max_size=8), unique=True, max_size=10))
def test_no_two_algorithms_of_a_report_look_alike_in_grey(names: list[str]) -> None:
    found = looks([(name, False) for name in names])
    assert len({(look.marker, look.line) for look in found.values()}) == len(names)
    assert list(found) == sorted(names)


@given(st.lists(st.text(max_size=8), unique=True, max_size=6))
def test_up_to_six_algorithms_have_six_colours(names: list[str]) -> None:
    assert len({look.colour for look in looks([(name, False) for name in names]).values()}) == len(names)


@pytest.mark.parametrize(
    ("colours", "hatches"), [(palette.PHASES, palette.PHASE_HATCHES), (palette.CATEGORIES, palette.HATCHES)], ids=["phases", "categories"]
)
def test_stacked_bars_differ_in_hatch_or_clearly_in_grey(colours: dict[str, str], hatches: dict[str, str]) -> None:
    for one, other in itertools.combinations(colours, 2):
        assert hatches[one] != hatches[other] or abs(grey(colours[one]) - grey(colours[other])) > 0.2, (one, other)
