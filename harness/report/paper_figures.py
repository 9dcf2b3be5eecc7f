r"""Figures as LaTeX takes them: a float around the PDF at its own size, with the caption that the page has under it."""

from __future__ import annotations

from harness.report import latex
from harness.report.drawing import Drawing


def environment(name: str, label: str, drawn: Drawing, *, wide: bool) -> str:
    r"""A ``figure`` over one column or, where it is ``wide``, over all; not scaled, for the PDF is as wide as the column already."""
    kind = "figure*" if wide else "figure"
    lines = [rf"\begin{{{kind}}}[t]", r"\centering", rf"\includegraphics{{{name}.pdf}}"]
    lines += [rf"\caption{{{latex.escape(drawn.title)}. {latex.escape(drawn.caption)}}}", rf"\label{{fig:{label}-{drawn.name}}}"]
    return "\n".join([*lines, rf"\end{{{kind}}}", ""])
