"""The page's room on log-probs at the marks: held-out chosen and rejected responses under each policy, and what changed since step 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report import tables
from harness.report.points import Loaded, Point
from harness.report.section import Grid, Looks, Section

KEYS = ("heldout_chosen", "heldout_chosen_change", "heldout_rejected", "heldout_rejected_change", "heldout_gap")
HEADINGS = ("log pi(y_w), nats", "its change", "log pi(y_l), nats", "its change", "gap")
MEANING = (
    "Log-probs of the responses of held-out pairs, which no algorithm trains on, as token sums. Changes are against the reference, and the "
    "gap is the change of the chosen response less that of the rejected one. A gap may grow while both fall."
)


def section(study: Loaded, found: Sequence[Point], looks: Looks) -> Section | None:
    """The room, or None where no run measured held-out log-probs."""
    rows = [row for point in found for row in _rows(point)]
    if not rows:
        return None
    units = "prompts" if any(map(_several, found)) else "pairs"
    caption = (
        f"Held-out log-probs at the marks and at the end. Intervals over {units}, n {units}, for several seeds over seeds and {units}."
    )
    return Section(
        "heldout", "Log-probs at the marks", [MEANING], tables=[Grid(["algorithm", "setting", "mark", *HEADINGS], rows, caption)]
    )


def _several(point: Point) -> bool:
    """Whether pairs that ask one prompt were averaged; elsewhere a pair is a prompt."""
    return any("sample" in row for rows in point.rows for (_, part), each in rows.items() if part == "heldout" for row in each[:1])


def _rows(point: Point) -> Iterator[list[str]]:
    for mark in (*point.marks, None):
        point.ask(KEYS, mark)
        numbers = [tables.value(point.get(key, mark), 2, "not measured") for key in KEYS]
        if any(number.text for number in numbers):
            said = [" ".join(filter(None, (each.text, each.bounds, each.n))) or each.reason for each in numbers]
            yield [point.title, point.setting, "end" if mark is None else f"{mark:g}", *said]
