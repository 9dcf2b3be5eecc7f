"""One colour, one marker and one line style per algorithm, the same in every figure of a report and apart in grey.

Colours: Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart with any common colour blindness; its yellow is left out, too
light on white. Controls are grey.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
Line = Literal["-", "--", "-.", ":"]
LINES: tuple[Line, ...] = ("-", "--", "-.", ":")
GREY = "#666666"
INK = "#222222"

CATEGORIES = {"refusal": "#0072B2", "benign": "#009E73", "comply": "#D55E00", "broken": "#BBBBBB"}
HATCHES = {"refusal": "", "benign": "", "comply": "///", "broken": "..."}
PHASES = {"reward": "#D55E00", "rollout": "#E69F00", "reference": "#56B4E9", "update": "#0072B2", "evaluation": "#BBBBBB"}


class Look(NamedTuple):
    """How an algorithm is drawn."""

    colour: str
    marker: str
    line: Line
    face: str  # of its markers


def looks(algorithms: Sequence[tuple[str, bool]], oracles: Collection[str] = ()) -> Mapping[str, Look]:
    """A look for each (name, is a control), by alphabetical order, so that it does not depend on the order of runs.

    Oracles are drawn dashed and hollow.
    """
    found: dict[str, Look] = {}
    for control in (False, True):
        names = sorted({name for name, is_control in algorithms if is_control is control})
        for position, name in enumerate(names):
            colour = GREY if control else COLOURS[position % len(COLOURS)]
            marker = ("x", "+", "*")[position % 3] if control else MARKERS[position % len(MARKERS)]
            line = "--" if name in oracles else LINES[(position // len(COLOURS)) % len(LINES)]
            found[name] = Look(colour, marker, line, "white" if name in oracles else colour)
    return found


def stage_colour(stage: str, position: int) -> str:
    """The colour of a phase of compute; phases that this version does not know take greys."""
    return PHASES.get(stage, ("#888888", "#AAAAAA", "#CCCCCC")[position % 3])
