"""How much of a caption and of a table goes onto one page."""

from __future__ import annotations

from harness.report import paper_appendix, paper_figures


def test_a_caption_keeps_the_sentences_that_fit_and_the_text_has_the_rest() -> None:
    said = "What is drawn. Filled points are runs. Hollow ones are earlier marks."
    assert paper_figures._parted(said, 100) == (said, "")
    assert paper_figures._parted(said, 45) == ("What is drawn. Filled points are runs.", "Hollow ones are earlier marks.")
    assert paper_figures._parted(said, -3) == ("What is drawn.", "Filled points are runs. Hollow ones are earlier marks.")


def test_a_table_is_cut_by_lines_and_no_row_is_lost() -> None:
    rows = [["ppo", "x" * paper_appendix.WIDE * 20]] * 3 + [["dpo", ""]] * 40
    cut = list(paper_appendix._cut(rows))
    assert [len(some) for some in cut] == [1, 1, 17, 24]
    assert [row for some in cut for row in some] == rows
