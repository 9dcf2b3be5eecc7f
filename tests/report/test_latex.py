"""Text that LaTeX prints and does not act on, names that TeX takes, and sources that become references."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.statistics import Interval
from harness.report import bibliography, latex, macros
from tests.conftest import ROOT

COMMANDS = {"textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "textdagger", "ensuremath"}
COMMANDS |= {"leq", "geq", "times", "ldots", "texttt", "char", "v", "c", "r", "allowbreak"}


def acted_on(source: str) -> set[str]:
    """The commands that TeX would run: control words, found after the escaped backslashes are set aside."""
    return set(re.findall(r"\\([A-Za-z]+)", re.sub(r"\\[{}$&#_%]", "", source))) - COMMANDS


def balanced(source: str) -> bool:
    depth = 0
    for sign in re.findall(r"(?<!\\)[{}]", source.replace(r"\\", "")):
        depth += 1 if sign == "{" else -1
        if depth < 0:
            return False
    return depth == 0


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("50 % of $x_1$ & #2", r"50 \% of \$x\_1\$ \& \#2"),
        ("a~b^c", r"a\textasciitilde{}b\textasciicircum{}c"),
        ("\x1b[2J", r"\textbackslash{}x1b{[}2J"),
        ("\u202eabc", r"\textbackslash{}u202eabc"),
        ("a\nb", r"a\textbackslash{}nb"),
        ("--''", r"-{}-'{}'"),
        ("[x]*", "{[}x{]}{*}"),
        ("caf\u00e9 \u0394 \u4e2d", r"caf\'{e} \texttt{U+0394} \texttt{U+4E2D}"),
        ("dpo \u2020", r"dpo \textdagger{}"),
        ("0123456789abcdef" * 2, r"01234567\allowbreak{}89abcdef\allowbreak{}01234567\allowbreak{}89abcdef"),
    ],
)
def test_escaped_text_prints_what_it_was(text: str, source: str) -> None:
    assert latex.escape(text) == source


@given(st.text())
def test_no_text_can_run_a_command_or_open_a_group(text: str) -> None:
    source = latex.escape(text)
    assert source.isascii()
    assert acted_on(source) == set()
    assert balanced(source)
    assert not re.search(r"(?<!\\)[%$&#_]", source)
    assert "\n" not in source
    assert not source.startswith(("[", "*"))


def test_numbers_carry_their_bounds_or_say_that_there_are_none() -> None:
    assert latex.number(Interval(0.8136, 0.7562, 0.8567, 384), 3) == r"0.814 {\scriptsize {[}0.756, 0.857{]}}"
    assert latex.number(Interval(-0.0004, -0.01, 0.02, 9), 2, bold=True).startswith(r"\textbf{0.00} {\scriptsize {[}\ensuremath{-}0.01")
    assert "no bounds" in latex.number(Interval(1.0, math.nan, math.nan, 1), 2)
    assert latex.number(None, 2) == "---"
    assert latex.scientific(1.062813696e12) == r"\ensuremath{1.063 \times 10^{12}}"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("dpo", "Dpo"),
        ("kl_coef=0.08", "KlCoefZeroPointZeroEight"),
        ("ppo_gold (oracle)", "PpoGoldOracle"),
        ("a-1", "AMinusOne"),
        ("\u03b2=5", "BetaFive"),
        ("\u202e", "Unnamed"),
    ],
)
def test_a_macro_s_name_is_made_of_letters(text: str, word: str) -> None:
    assert macros.word(text) == word


@given(st.lists(st.text(), unique=True, max_size=5))
def test_macro_names_are_letters_and_differ(texts: list[str]) -> None:
    made = macros.words(texts)
    assert all(re.fullmatch("[A-Za-z]+", each) for each in made.values())
    assert len(set(made.values())) == len(texts)


def test_a_name_that_two_numbers_would_have_is_given_to_neither() -> None:
    text = macros.file([macros.Macro("HarnessA", "1"), macros.Macro("HarnessB", "2"), macros.Macro("HarnessA", "3")])
    assert text == "% \\HarnessA: two numbers would have this name\n\\newcommand{\\HarnessB}{2}\n"


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("arXiv:2305.18290 eq. 7", ["arXiv:2305.18290"]),
        ("arXiv:2402.13228v2 L_DPOP", ["arXiv:2402.13228"]),
        ("Ouyang et al. 2022, arXiv 2203.02155", ["arXiv:2203.02155"]),
        ("https://arxiv.org/abs/2310.12036, equation 17", ["arXiv:2310.12036"]),
        ("doi:10.1000/xyz_1, after arXiv:2305.18290", ["arXiv:2305.18290", "doi:10.1000/xyz_1"]),
        ("https://ericmitchell.ai/cdpo.pdf", ["url:https://ericmitchell.ai/cdpo.pdf"]),
        ("maximum likelihood", []),
        ("", []),
    ],
)
def test_a_source_names_works(source: str, keys: list[str]) -> None:
    assert [work.key for work in bibliography.works(source)] == keys


def test_every_source_of_the_built_in_algorithms_is_a_whole_entry() -> None:
    from harness.plugins import registry

    known = bibliography.entries((ROOT / "algorithms" / "references.bib").read_text(encoding="utf-8"))
    for entry in registry.describe("algorithms"):
        for work in bibliography.works(str(entry.declaration.metadata.get("source", ""))):
            assert work.key in known, entry.name
            assert {"author", "title", "year"} <= set(re.findall(r"^  (\w+) = \{", known[work.key], re.MULTILINE))
            assert balanced(known[work.key])
    assert len(bibliography.entries(bibliography.METHODS)) == 4
