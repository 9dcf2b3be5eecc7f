"""Fonts of a PDF: cut out of a copy with fewer letters, byte for byte what the whole font gives, and of the whole font where it must be."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.backends import _backend_pdf_ps
from matplotlib.font_manager import FontProperties, findfont, get_font

from harness.report import letters

BACKEND: Any = _backend_pdf_ps


def cut(text: str, weight: str) -> tuple[bytes, dict[int, int]]:
    """The file of the font with these letters alone, and where their glyphs are in it."""
    font: Any = findfont(FontProperties(family="DejaVu Sans", weight=weight))
    places = get_font(font).get_charmap()
    glyphs = {places[ord(letter)] for letter in text}
    with BACKEND.get_glyphs_subset(font, glyphs) as found:
        return BACKEND.font_as_file(found.font).getvalue(), {glyph: found.glyph_index_map[glyph] for glyph in glyphs}


@pytest.mark.parametrize("weight", ["normal", "bold"])
@pytest.mark.parametrize("text", ["KL(policy || SFT), nats", "β = 0.1 ≤ 0.25 ± −3, ﬁn é", "two \u4dc0"], ids=["plain", "signs", "beyond"])
def test_the_copy_gives_the_bytes_of_the_font(monkeypatch: pytest.MonkeyPatch, text: str, weight: str) -> None:
    with letters.copied():
        found = cut(text, weight)
    options = BACKEND.subset.Options
    monkeypatch.setattr(options, "_drop_tables_default", [*options._drop_tables_default, *letters.PLACING])
    assert found == cut(text, weight)


def test_a_copy_has_the_letters_of_figures_and_not_the_rest() -> None:
    font: Any = findfont(FontProperties(family="DejaVu Sans"))
    copy, places = letters._copy(BACKEND.get_glyphs_subset, font), get_font(font).get_charmap()
    assert {places[ord(letter)] for letter in "aZ9β−é"} <= copy.place.keys()
    assert len(copy.place) < len(places) / 5


def test_matplotlib_is_as_it_was_afterwards() -> None:
    before = BACKEND.get_glyphs_subset, BACKEND.subset.Options._drop_tables_default
    with pytest.raises(ValueError, match="inside"), letters.copied():
        assert before[0] is not BACKEND.get_glyphs_subset
        raise ValueError("inside")
    assert before == (BACKEND.get_glyphs_subset, BACKEND.subset.Options._drop_tables_default)
