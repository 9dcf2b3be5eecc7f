r"""A macro for every number of a comparison, so that a paper's text holds none that could go stale: ``\HarnessTldrDpoWinRate``.

A name is made of words: the task, the algorithm, a setting where one is meant, the number. TeX takes only letters in a name, so digits are
spelled. A number that is not defined has no macro: a text that uses it does not compile.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.measure.accounting import Column
from harness.measure.statistics import Interval
from harness.report import latex, winrate
from harness.report.comparing import Comparison
from harness.report.points import Point, charged

PREFIX = "Harness"
DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
SIGNS = {".": "Point", "+": "Plus"}
# The word of a number in a macro's name, and where it stands in a record.
NUMBERS: Mapping[str, Column] = {
    "WinRate": Column("win_sft", "win rate vs SFT", "share", 3),
    "WinRateData": Column("win_reference", "win rate vs data", "share", 3),
    "Gold": Column("gold", "gold reward", "reward", 2),
    "Kl": Column("kl", "KL", "nats", 2),
    "Length": Column("length", "length", "tokens", 1),
    "RefusalChange": Column("refusal_mass_delta", "refusals, harmful", "change", 3),
    "OverRefusalChange": Column("over_refusal_mass_delta", "refusals, borderline", "change", 3),
}


class Macro(NamedTuple):
    r"""A macro: ``name`` without the backslash, its LaTeX text (None: undefined, for ``reason``)."""

    name: str
    text: str | None
    reason: str = ""

    def __str__(self) -> str:
        r"""``\newcommand{\Name}{text}``, or a comment that says why there is none."""
        if self.text is None:
            return f"% \\{self.name}: {self.reason}"
        return rf"\newcommand{{\{self.name}}}{{{self.text}}}"


def word(text: str) -> str:
    """A text as a part of a macro's name, letters only: ``kl_coef=0.08`` is ``KlCoefZeroPointZeroEight``.

    A minus sign before a digit is spelled, an ASCII letter begins a word after anything else, a letter of another script is named by
    the last word of its Unicode name, and what is left separates words.
    """
    parts: list[str] = []
    for match in re.finditer(r"[A-Za-z]+|\d|-(?=\d)|[.+](?=\d)|[^\x00-\x7f]", text):
        part = match[0]
        if part.isascii() and part.isalpha():
            parts.append(part[0].upper() + part[1:])
        elif part.isascii() and part.isdigit():
            parts.append(DIGITS[int(part)])
        else:
            parts.append("Minus" if part == "-" else SIGNS.get(part) or _named(part))
    return "".join(parts) or "Unnamed"


def _named(character: str) -> str:
    if not unicodedata.category(character).startswith("L"):
        return ""
    return re.sub(r"[^A-Za-z]", "", unicodedata.name(character, "Letter").split()[-1].capitalize())


def words(texts: Sequence[str]) -> dict[str, str]:
    """A word for each text, no two alike: those that would be are followed by letters made of their sha256."""
    made = {text: word(text) for text in texts}
    taken = list(made.values())
    return {text: each if taken.count(each) == 1 and each != "Unnamed" else each + _letters(text) for text, each in made.items()}


def _letters(text: str) -> str:
    return "X" + "".join(chr(ord("a") + int(digit, 16)) for digit in hashlib.sha256(text.encode()).hexdigest()[:6])


def macros(label: str, found: Sequence[Point], made: Sequence[Comparison], base: str | None) -> Iterator[Macro]:
    """The macros of one study: of every algorithm at the setting that is compared, of every setting, and of every comparison."""
    start, names = PREFIX + word(label), words(list(dict.fromkeys(point.algorithm for point in found)))
    for point in winrate.chosen(found):
        head = start + names[point.algorithm]
        yield Macro(f"{head}Setting", latex.escape(point.setting))
        yield from _point(head, point)
    for name, own in names.items():
        group = [point for point in found if point.algorithm == name]
        for setting, said in words([point.setting for point in group]).items():
            yield from _point(start + own + said, next(point for point in group if point.setting == setting))
    for each in made:
        yield from _comparison(f"{start}{names.get(each.name, word(each.name))}Less{names[str(base)]}", each)


def _point(head: str, point: Point) -> Iterator[Macro]:
    for name, column in NUMBERS.items():
        yield from _interval(head + name, point.get(column.key), column.digits)
    yield Macro(f"{head}Seeds", str(len(point.cells)))
    flops = sum(charged(cell.record) for cell in point.cells) / len(point.cells)
    yield Macro(f"{head}Flops", latex.scientific(flops) if math.isfinite(flops) else None, "unknown: nobody recorded them")


def _interval(name: str, found: Interval | None, digits: int) -> Iterator[Macro]:
    """The number, its interval, both together, each bound and n; only the reason where it is not defined."""
    if found is None:
        yield Macro(name, None, "not defined for this task")
        return
    value, bounds = latex.amount(found.value, digits), latex.bounds(found, digits)
    yield Macro(name, value)
    yield Macro(f"{name}Interval", bounds)
    yield Macro(f"{name}WithInterval", f"{value} {bounds}")
    if found.lower == found.lower and found.upper == found.upper:
        yield Macro(f"{name}Lower", latex.amount(found.lower, digits))
        yield Macro(f"{name}Upper", latex.amount(found.upper, digits))
    yield Macro(f"{name}N", str(found.n))


def _comparison(head: str, each: Comparison) -> Iterator[Macro]:
    """A paired difference of win rates in shares, and its adjusted p where the seeds allow one."""
    if each.difference is None:
        yield Macro(f"{head}WinRate", None, each.reason)
        return
    yield from _interval(f"{head}WinRate", each.difference, 3)
    tested = each.verdict is not None and each.verdict.testable and not each.rising
    p = f"{each.verdict.adjusted:.2g}" if tested and each.verdict else None
    yield Macro(f"{head}AdjustedP", p, "not testable with so few seeds, exploratory, or not converged")


def file(found: Sequence[Macro]) -> str:
    """The text of macros.tex: one line each; a name that two numbers would have is given to neither."""
    names = Counter(each.name for each in found)
    lines = [str(each if names[each.name] == 1 else each._replace(text=None, reason="two numbers would have this name")) for each in found]
    return "\n".join(dict.fromkeys(lines)) + "\n"
