"""One colour, one marker and one line style per algorithm, the same in every figure and every report, and apart in grey.

An algorithm has a place of its own, read off its name: it keeps its colour whatever else a report shows, unless two names of one report
want the same place, where the later one in the alphabet moves on to a place of its own choice that nobody wants.

Colours: Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart with any common colour blindness; its yellow is left out, too
light on white. Controls are grey.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
Line = Literal["-", "--", "-.", ":"]
LINES: tuple[Line, ...] = ("-", "--", "-.", ":")
GREY = "#666666"
CONTROLS = ("x", "+", "*")  # markers of controls
# Among the first 9,000 numbers the one for which no two algorithms of this project want one place, and each has the colour that it had
# when places went by the alphabet.
SALT = 8921
INK = "#222222"

CATEGORIES = {"refusal": "#0072B2", "benign": "#009E73", "comply": "#D55E00", "broken": "#BBBBBB"}
HATCHES = {"refusal": "", "benign": "\\\\\\", "comply": "///", "broken": "..."}
PHASES = {"reward": "#D55E00", "rollout": "#E69F00", "reference": "#56B4E9", "update": "#0072B2", "evaluation": "#BBBBBB"}
PHASE_HATCHES = {"reward": "////", "rollout": "....", "reference": "", "update": "", "evaluation": "\\\\\\\\"}  # apart in grey


class Look(NamedTuple):
    """How an algorithm is drawn."""

    colour: str
    marker: str
    line: Line
    face: str  # of its markers


def looks(algorithms: Sequence[tuple[str, bool]], oracles: Collection[str] = ()) -> Mapping[str, Look]:
    """A look for each (name, is a control), the same one in every report that no name with the same place is in.

    Oracles are drawn dashed and hollow.
    """
    found: dict[str, Look] = {}
    for control, count in ((False, len(COLOURS)), (True, len(CONTROLS))):
        for name, place in _places({name for name, is_control in algorithms if is_control is control}, count).items():
            colour = GREY if control else COLOURS[place % count]
            marker = CONTROLS[place % count] if control else MARKERS[place % len(MARKERS)]
            line = "--" if name in oracles else LINES[(place // count) % len(LINES)]
            found[name] = Look(colour, marker, line, "white" if name in oracles else colour)
    return found


def _places(names: Collection[str], count: int) -> dict[str, int]:
    """A place for each name, in the order of the names: the one it wants where it is the first to want it, else the next that is free."""
    wanted: dict[int, str] = {}
    for name in sorted(names):
        wanted.setdefault(next(_wishes(name, count)), name)
    found = {name: place for place, name in wanted.items()}
    for name in sorted({*names} - {*found}):
        found[name] = next(place for place in _wishes(name, count) if place not in found.values())
    return {name: found[name] for name in sorted(names)}


def _wishes(name: str, count: int) -> Iterator[int]:
    """The places that a name wants, best first: from its own one round the first ``count``, then, as full, round the next."""
    start = int.from_bytes(hashlib.sha256(f"{SALT}:{name}".encode()).digest()[:8], "big") % count
    turn = 0
    while True:
        yield from (turn * count + (start + step) % count for step in range(count))
        turn += 1


def stage_colour(stage: str, position: int) -> str:
    """The colour of a phase of compute; phases that this version does not know take greys."""
    return PHASES.get(stage, ("#888888", "#AAAAAA", "#CCCCCC")[position % 3])
