"""The prompts of algorithms that sample: fresh or the pairs' own, fitting, and counted once however often they are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.data.prompts import PromptStream, of_pairs
from harness.data.tokenise import Tokens
from harness.types import TokenPair


class Words:
    """A tokenizer of numbers: the words of a prompt are its ids after an opening 0."""

    eos_token_id = 99

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, Any]:
        return {"input_ids": [[0, *map(int, text.split())] for text in texts]}

    def decode(self, ids: list[int], skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        return " ".join(str(each) for each in ids if each or not skip_special_tokens)


TOKENS = Tokens(Words(), max_prompt=3, max_response=4)


def test_the_pairs_own_prompts_come_each_once_before_any_twice_and_count_once() -> None:
    pairs = [TokenPair(row, (0, row // 2 + 1), (1,), (2,)) for row in range(8)]  # four prompts, each in two pairs
    counted: list[int] = []
    stream = PromptStream(of_pairs(pairs, TOKENS, np.random.default_rng(0)), TOKENS, counted.append)
    first, second = stream(4), stream(4)
    assert sorted(first) == sorted(second) == [(0, 1), (0, 2), (0, 3), (0, 4)]
    assert sum(counted) == 4
    assert stream.texts[0, 3] == "3"


def test_over_long_prompts_are_drawn_again_and_neither_given_nor_counted() -> None:
    texts = iter(["1 2 3 4", "1", "2", "2"])
    counted: list[int] = []
    stream = PromptStream(lambda n: [next(texts) for _ in range(n)], TOKENS, counted.append)
    assert stream(2) == [(0, 1), (0, 2)]
    assert stream(1) == [(0, 2)]
    assert sum(counted) == 2
