r"""Text as LaTeX prints it and does not act on it, numbers with their bounds, and booktabs tables; pure ASCII.

Whatever stands in a record may be hostile or simply unlucky: ``\input``, a per cent sign, a control that turns the reading direction.
``escape`` makes controls visible as the page does and then writes every character that TeX treats specially as one that it prints.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

from harness.measure.statistics import Interval
from harness.report.escape import visible

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "%": r"\%",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",  # active in some languages of babel
    "[": "{[}",  # an argument of \\ or \item otherwise
    "]": "{]}",
    "*": "{*}",
}
# A table as it is or, where it is wider than its column (names may be of any length), as wide as the column: of graphicx, as figures are.
FIT = r"""\providecommand{\HarnessFit}[1]{%
  \begingroup\setbox0\hbox{#1}%
  \ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\copy0}\else\copy0\fi\endgroup}
"""
LONG = re.compile(r"\S{25,}")
JOINED = "-'`,"  # two of them in a row would be set as one sign
SYMBOLS = {
    "\u2020": r"\textdagger{}",
    "\u2264": r"\ensuremath{\leq}",
    "\u2265": r"\ensuremath{\geq}",
    "\u00d7": r"\ensuremath{\times}",
    "\u2014": "---",
    "\u2013": "--",
    "\u2019": "'",
    "\u2026": r"\ldots{}",
}
ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030c": "v", "\u0327": "c", "\u030a": "r"}


def escape(text: object, *, whole: bool = False) -> str:
    r"""The text as LaTeX source that prints it: specials escaped, accents as commands, what no font has as ``U+4E2D``.

    A word too long for a line, such as a hash, may be broken after every eighth character unless it is to stay ``whole``.
    """
    shown = visible(text, lines=False)
    source = [_character(each) + "{}" * (each == after and each in JOINED) for each, after in zip_longest(shown, shown[1:])]
    for word in () if whole else LONG.finditer(shown):
        for place in range(word.start() + 7, word.end() - 1, 8):
            source[place] += r"\allowbreak{}"
    return "".join(source)


def _character(character: str) -> str:
    if character in SPECIAL or character in SYMBOLS:
        return SPECIAL.get(character) or SYMBOLS[character]
    if character.isascii():
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in ACCENTS:
        return rf"\{ACCENTS[parts[1]]}{{{parts[0]}}}"
    return rf"\texttt{{U+{ord(character):04X}}}"


def number(found: Interval | None, digits: int, *, bold: bool = False) -> str:
    r"""``0.814 {\scriptsize [0.756, 0.857]}`` with the value bold where it is marked; a dash where there is no number."""
    if found is None:
        return "---"
    value = amount(found.value, digits)
    shown = rf"\textbf{{{value}}}" if bold else value
    return rf"{shown} {{\scriptsize {bounds(found, digits)}}}"


def bounds(found: Interval, digits: int) -> str:
    """``{[}0.756, 0.857{]}``, or that there are none."""
    if math.isnan(found.lower + found.upper):
        return "{[}no bounds{]}"
    return f"{{[}}{amount(found.lower, digits)}, {amount(found.upper, digits)}{{]}}"


def amount(value: float, digits: int) -> str:
    """A number of so many decimals with a true minus sign; a zero has none."""
    text = f"{value:.{digits}f}"
    return text.replace("-", r"\ensuremath{-}") if float(text) else text.removeprefix("-")


def scientific(value: float) -> str:
    r"""``\ensuremath{1.063 \times 10^{12}}``; small numbers as they are, ``unknown`` where there is none."""
    if not math.isfinite(value):
        return "unknown"
    if not value or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return rf"\ensuremath{{{mantissa} \times 10^{{{int(exponent)}}}}}"


def tabular(headings: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    r"""A booktabs ``tabular`` of LaTeX source, one row per line; an empty row is a rule between groups.

    Every cell must be LaTeX already; the first of a row never begins with a bracket or a star, for ``escape`` braces both.
    """
    lines = [rf"\begin{{tabular}}{{@{{}}{align}@{{}}}}", r"\toprule", " & ".join(headings) + r" \\", r"\midrule"]
    lines += [" & ".join(row) + r" \\" if row else r"\midrule" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def table(inner: str, caption: str, label: str, *, wide: bool, size: str = r"\footnotesize") -> str:
    r"""A float around a ``tabular``: over both columns where it is ``wide``, made smaller where it is wider still.

    The caption is LaTeX already; ``FIT`` must stand before the first table of a file.
    """
    kind = "table*" if wide else "table"
    lines = [rf"\begin{{{kind}}}[t]", r"\centering", rf"\caption{{{caption}}}", rf"\label{{{label}}}", size]
    return "\n".join([*lines, r"\HarnessFit{%", inner + "}", rf"\end{{{kind}}}", ""])
