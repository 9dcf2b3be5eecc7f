"""What a page makes of the texts of a table and of a caption."""

from __future__ import annotations

import pytest

from harness.report.drawing import inline
from harness.report.spots import Spot
from harness.report.typeset import cell, headline, numeric, opening


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.81 [0.76, 0.86]", '0.81 <small class="bounds">[0.76, 0.86]</small>'),
        ("+0.9 [-3.7, +5.2], n=384", '+0.9 <small class="bounds">[-3.7, +5.2]</small> <small class="rest">n=384</small>'),
        ("2.69e+11 [2.69e+11, never] (mark <1>)",
         '2.69e+11 <small class="bounds">[2.69e+11, never]</small> <small class="rest">(mark &lt;1&gt;)</small>'),
        ("0.5 [no bounds]", '0.5 <small class="bounds">[no bounds]</small>'),
        ("0.031 (0.0078 alone)", '0.031 <small class="rest">(0.0078 alone)</small>'),
        ("2.75 (1.5 to 4)", '2.75 <small class="bounds">(1.5 to 4)</small>'),
        ("[-31.4, -17.6]", '<span class="bounds">[-31.4, -17.6]</span>'),
        ("(KL ends at 0.40)", '<small class="reason">(KL ends at 0.40)</small>'),
        ("dpo [x]", "dpo [x]"),
        ("0123456789abcdef" * 4, f'<code class="hash">{"0123456789abcdef" * 4}</code>'),
        ("<b>\x1b[2J", r"&lt;b&gt;\x1b[2J"),
        ("0.1 [<b>] <i>\u202e", r'0.1 <small class="bounds">[&lt;b&gt;]</small> <small class="rest">&lt;i&gt;\u202e</small>'),
        ("", ""),
        (3, "3"),
    ],
)  # fmt: skip
def test_cells(text: object, expected: str) -> None:
    assert cell(text) == expected


def test_columns_of_numbers() -> None:
    rows = [["dpo", "1", "0.5 [0, 1]", "differs", "(none)"], ["7", "", "not ranked", "2 seeds are few", "3"], ["x", "2", "-1.0", "no", ""]]
    assert numeric(rows, 1, 5) == [False, True, True, False, True]
    assert numeric(rows, 4, 5) == [False, False, False, False, True]
    assert numeric([], 1, 3) == [False] * 3
    assert numeric([["a"], ["b", "1"]], 0, 3) == [False, True, False]


@pytest.mark.parametrize(
    ("text", "first", "head"),
    [
        ("One. Two. Three.", "One.", "One"),
        (
            "Rafailov et al. 2023 drew it; 95 % there. 95 % here.",
            "Rafailov et al. 2023 drew it; 95 % there.",
            "Rafailov et al. 2023 drew it",
        ),
        ("No end", "No end", "No end"),
        ("arXiv 2504.10637 says.", "arXiv 2504.10637 says.", "arXiv 2504.10637 says"),
    ],
)
def test_openings(text: str, first: str, head: str) -> None:
    assert opening(text)[0] == first
    assert " ".join(filter(None, opening(text))) == text
    assert headline(text) == head


SVG = """<?xml version="1.0"?>
<svg width="10pt" height="20pt" viewBox="0 0 10 20">
 <!-- a <comment> -->
 <defs><path id="m1" d="M 1.234567 -0.999999 L 3 4"/></defs>
 <g id="line2d_7"><use xlink:href="#m1" x="1.987654" y="2"/></g>
 <g id="point.gold.3.part0"><use transform="scale(0.015625)"/></g>
 <g id="point.gold.3.marker"><use xlink:href="#m1"/></g>
</svg>"""


def test_an_inlined_figure_is_small_and_its_points_have_names() -> None:
    spot = Spot("point.gold.3", "gold", 'e"<b>', 1.5, 'dpo "x" <b>; KL 1.50')
    body = inline(SVG, "frontier", "all & sundry", [spot])
    assert body.startswith('<svg role="group" aria-label="all &amp; sundry" viewBox')
    assert "<!--" not in body and "line2d_7" not in body and "\n " not in body
    assert 'd="M 1.23 -0.99 L 3 4"' in body and 'x="1.98"' in body and "scale(0.015625)" in body
    assert '<path id="frontier-m1"' in body and body.count('xlink:href="#frontier-m1"') == 2
    assert body.count('data-algorithm="e&#34;&lt;b&gt;"') == 2
    said = "dpo &#34;x&#34; &lt;b&gt;; KL 1.50"
    assert f'class="spot" data-panel="gold" data-kl="1.5" role="img" aria-label="{said}"><title>{said}</title>' in body
    assert '<svg role="img"' in inline(SVG.replace("point.gold.3", "other"), "x", "")
