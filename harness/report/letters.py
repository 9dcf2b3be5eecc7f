"""Fonts in a PDF: the letters of a figure are cut out of a copy that has the letters of any figure, in a quarter of the time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache, partial
from io import BytesIO
from typing import Any, NamedTuple

# Tables of a font that place its glyphs, which a PDF does by itself: to cut them to the glyphs of a figure is most of embedding a font.
PLACING = ("GDEF", "GPOS", "GSUB", "kern", "MATH")
# Codes of the letters that a copy keeps: Latin, Greek, punctuation, superscripts, arrows, signs of mathematics, ligatures.
KEPT = (*range(0x20, 0x180), *range(0x370, 0x400), *range(0x2010, 0x2090), *range(0x2190, 0x2194), *range(0x2200, 0x2270))
LIGATURES = tuple(range(0xFB00, 0xFB07))


class Copy(NamedTuple):
    """A font's file with the kept letters alone, and where a glyph of the font is in it."""

    content: bytes
    place: Mapping[int, int]


class File(BytesIO):
    """A font's file in memory, with what matplotlib asks of one on disk."""

    face_index = 0  # of the only font in it


@contextmanager
def copied() -> Iterator[None]:
    """Fonts are embedded from such copies: 9 in place of 33 ms each, the same bytes; one whose letters a copy lacks, from the font.

    matplotlib has no setting for where a font is cut from nor for the tables to drop, so both are set behind its back meanwhile.
    """
    from matplotlib.backends import _backend_pdf_ps

    backend: Any = _backend_pdf_ps  # fontTools in it is matplotlib's dependency and not the report's own
    if not hasattr(backend, "get_glyphs_subset"):  # another version of matplotlib, which cuts in its own way
        yield
        return
    cut, options = backend.get_glyphs_subset, backend.subset.Options
    before = options._drop_tables_default
    options._drop_tables_default = [*before, *PLACING]
    backend.get_glyphs_subset = partial(_cut, cut)
    try:
        yield
    finally:
        options._drop_tables_default, backend.get_glyphs_subset = before, cut


@contextmanager
def _cut(whole: Any, font: Any, glyphs: Any) -> Iterator[Any]:
    """What ``whole``, matplotlib's own, gives of these glyphs of a font."""
    copy, wanted = _copy(whole, font), {*glyphs}
    if not wanted <= copy.place.keys():
        with whole(font, wanted) as found:
            yield found
        return
    part: AbstractContextManager[Any] = whole(File(copy.content), {copy.place[glyph] for glyph in wanted})
    with part as found:
        yield found._replace(glyph_index_map={glyph: found.glyph_index_map[copy.place[glyph]] for glyph in wanted})


@lru_cache(8)
def _copy(whole: Any, font: Any) -> Copy:
    from matplotlib.backends import _backend_pdf_ps
    from matplotlib.font_manager import get_font

    backend: Any = _backend_pdf_ps
    letters = get_font(font).get_charmap()
    with whole(font, {letters[code] for code in (*KEPT, *LIGATURES) if code in letters}) as found:
        return Copy(backend.font_as_file(found.font).getvalue(), found.glyph_index_map)
