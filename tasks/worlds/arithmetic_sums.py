"""Modular arithmetic in words: the questions, how writers work them out, and what a checker reads in an answer."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from harness.data import splits
from tasks.worlds import language

LARGEST, MODULI = 9, range(3, 10)
"""Operands are at most 9: of the 6300 questions each belongs to one split."""
NUMBERS = tuple(str(number) for number in range(2 * LARGEST * LARGEST + 1))
WORDS = ("what", "is", "(", ")", "+", "*", "mod", "?", ",", ".", "so")
VOCABULARY = (*language.SPECIAL, *sorted({*NUMBERS, *WORDS}))
WRITERS = ((0.25, 0.02, 0.02), (0.45, 0.15, 0.15), (0.30, 0.35, 0.35))
"""Of each kind of writer its share, the probability of a wrong number at every step, and that of leaving the work out."""
_QUESTION = re.compile(r"what is \( (\d+) \+ (\d+) \) \* (\d+) mod (\d+) \?")
_ANSWER = re.compile(r"(\d+) \+ (\d+) is (\d+) , (\d+) \* (\d+) is (\d+) , (\d+) mod (\d+) is (\d+) \.")


class Question(NamedTuple):
    """(a + b) * c mod m."""

    a: int
    b: int
    c: int
    m: int

    @property
    def text(self) -> str:
        """The question in words."""
        return f"what is ( {self.a} + {self.b} ) * {self.c} mod {self.m} ?"

    @property
    def answer(self) -> int:
        """The number that is asked for."""
        return (self.a + self.b) * self.c % self.m


class Checked(NamedTuple):
    """What a checker finds in an answer: whether all of it is right, whether it is in the format, and how many steps follow."""

    verified: bool
    formatted: bool
    steps: int


def draw(generator: np.random.Generator, split: str) -> Question:
    """Returns a question of the split, which the hash of its text decides."""
    while True:
        a, b, c = (int(number) for number in generator.integers((0, 0, 1), LARGEST + 1))
        question = Question(a, b, c, int(generator.choice(MODULI)))
        if splits.split_of(question.text, language.SPLITS) == split:
            return question


def read(text: str) -> Question:
    """Returns the question of a text; raises ValueError where it is none of this world."""
    if (found := _QUESTION.fullmatch(text.strip())) is None:
        raise ValueError(f"'{text}' asks nothing that this world knows")
    return Question(*map(int, found.groups()))


def write(generator: np.random.Generator, question: Question) -> str:
    """Returns an answer by a writer of its own: a slip at a step is carried on, and some write the result without the work."""
    _, slip, brief = WRITERS[int(generator.choice(len(WRITERS), p=[share for share, _, _ in WRITERS]))]
    a, b, c, m = question

    def said(number: int, below: int) -> int:
        return int(generator.integers(below)) if generator.random() < slip else number

    total = said(a + b, 2 * LARGEST + 1)
    product = said(total * c, len(NUMBERS))
    rest = said(product % m, m)
    if generator.random() < brief:
        return f"so {rest} ."
    return f"{a} + {b} is {total} , {total} * {c} is {product} , {product} mod {m} is {rest} ."


def check(question: Question, text: str, *, finished: bool) -> Checked:
    """Checks an answer without mercy: the format is the work in full, about the numbers asked for, each step from the one before.

    ``steps`` counts sum, product and remainder that follow from the numbers that the same step names. An answer is verified where all
    three do: of the last number alone one in six is right by chance, so that many tries would pass whatever the policy knows.
    """
    found = _ANSWER.fullmatch(text.strip())
    if found is None or not finished:
        return Checked(False, False, 0)
    a, b, total, carried, c, product, dividend, m, rest = map(int, found.groups())
    formatted = (a, b, c, m) == question and carried == total and dividend == product
    steps = (total == a + b) + (product == carried * c) + (m > 0 and rest == dividend % m)
    return Checked(formatted and steps == 3, formatted, steps if formatted else 0)
