r"""Figures as LaTeX takes them: a float around the PDF at its own size, with the caption that the page has under it."""

from __future__ import annotations

from harness.report import latex
from harness.report.drawing import Drawing
from harness.report.typeset import END

# A float and its caption must fit a page's text, 9 inches high; Times of 10 and 11 points sets at least so many characters in an inch.
TALLEST, LINE, CHARACTERS = 8.3, 0.19, 12  # inches, inches, characters an inch
LINES = 14  # of a caption; what is longer goes on in the text


def environment(name: str, label: str, drawn: Drawing, *, wide: bool) -> str:
    r"""A ``figure`` over one column or, where it is ``wide``, over all; not scaled, for the PDF is as wide as the column already.

    Sentences of the caption for which its page has no room follow as a paragraph of the text.
    """
    kind = "figure*" if wide else "figure"
    mark = "-".join(filter(None, [label, drawn.name]))
    width, height = drawn.figure.get_size_inches()
    said, rest = _parted(f"{drawn.title}. {drawn.caption}", width * CHARACTERS * min(LINES, (TALLEST - height) / LINE))
    lines = [rf"\begin{{{kind}}}[t]", r"\centering", rf"\includegraphics{{{name}.pdf}}"]
    lines += [rf"\caption{{{latex.escape(said)}}}", rf"\label{{fig:{mark}}}", rf"\end{{{kind}}}", ""]
    if rest:
        lines += [rf"\paragraph{{Figure~\ref{{fig:{mark}}}.}} {latex.escape(rest)}", ""]
    return "\n".join(lines)


def _parted(text: str, characters: float) -> tuple[str, str]:
    """The sentences that fit so many characters, the first always, and the rest."""
    ends = [found.end() for found in END.finditer(text)]
    end = max([each for each in ends if each <= characters] or ends[:1], default=len(text)) if len(text) > characters else len(text)
    return text[:end], text[end:].lstrip()
