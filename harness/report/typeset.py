"""How a page sets what tables and captions say: numbers over their bounds, reasons apart, hashes as such, long captions opened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest

from markupsafe import Markup

from harness.report.escape import visible

NUMBER = re.compile(r"(?P<number>[-+]?\d[\d.,]*(?:e[-+]?\d+)?) (?P<bounds>\[[^\]]*\]|\([^()]* to [^()]*\))[,;]?\s*(?P<rest>.*)", re.DOTALL)
NOTED = re.compile(r"(?P<number>[-+]?\d[\d.,]*(?:e[-+]?\d+)?) (?P<rest>\([^()]*\))")
BOUNDS = re.compile(r"\[[^\]]*\]")
REASON = re.compile(r"\(.*\)", re.DOTALL)
HASH = re.compile(r"(?:\w+ )?[0-9a-f]{24,64}")
END = re.compile(r"(?<!\bal)(?<!\beq)\.(?= [A-Z0-9])")  # of a sentence


def cell(text: object) -> Markup:
    """A table's cell, escaped: a number, its bounds and the rest or a note apart; bounds alone; a reason in brackets; a hash as one."""
    shown = visible(text)
    if found := NUMBER.fullmatch(shown):
        rest = Markup(' <small class="rest">{}</small>').format(found["rest"]) if found["rest"] else Markup("")
        return Markup('{} <small class="bounds">{}</small>{}').format(found["number"], found["bounds"], rest)
    if found := NOTED.fullmatch(shown):
        return Markup('{} <small class="rest">{}</small>').format(found["number"], found["rest"])
    if BOUNDS.fullmatch(shown):
        return Markup('<span class="bounds">{}</span>').format(shown)
    if REASON.fullmatch(shown):
        return Markup('<small class="reason">{}</small>').format(shown)
    return Markup('<code class="hash">{}</code>' if HASH.fullmatch(shown) else "{}").format(shown)


def numeric(rows: Sequence[Sequence[object]], first: int, width: int) -> list[bool]:
    """Which of ``width`` columns are set as numbers: those from ``first`` on in which most cells that say anything begin with one or give a
    reason.
    """
    columns = [[str(text) for text in each if text] for each in zip_longest([""] * width, *rows, fillvalue="")]
    counts = [sum(bool(re.match(r"[-+]?\d|\(", text)) for text in each) for each in columns]
    return [at >= first and 2 * count > len(each) for at, (count, each) in enumerate(zip(counts, columns, strict=True))]


def opening(text: str, sentences: int = 1) -> tuple[str, str]:
    """The first sentences of a text, and the rest of it."""
    ends = [found.end() for found in END.finditer(text)]
    end = ends[sentences - 1] if len(ends) >= sentences else len(text)
    return text[:end], text[end:].lstrip()


def headline(text: str) -> str:
    """What a caption begins with, to its first full stop or semicolon, without it."""
    return visible(opening(text)[0].partition("; ")[0].rstrip("."))
