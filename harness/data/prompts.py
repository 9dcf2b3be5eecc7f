"""The prompts that algorithms sample on: fresh ones of the training split, or those of the preference pairs again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.data import splits
from harness.data.tokenise import Tokens
from harness.types import TokenPair

DRAWS = 50  # draws for one batch of prompts before what fits has to do
Rows = Callable[[int], list[str]]
Ids = tuple[int, ...]


class PromptStream:
    """Calling it with n gives up to n prompts as token ids; ``texts`` are the texts of all that were given, so each counts once."""

    def __init__(self, rows: Rows, tokens: Tokens, count: Callable[[int], None]) -> None:
        """``rows(n)`` draws n prompts; ``count(k)`` hears of k prompts that were not given before."""
        self.rows, self.tokens, self.count = rows, tokens, count
        self.texts: dict[Ids, str] = {}

    def __call__(self, n: int) -> list[Ids]:
        """Up to ``n`` prompts; over-long ones are drawn again: a last rollout of one prompt must not end the run."""
        found: list[Ids] = []
        for _ in range(DRAWS):
            rows = self.rows(n - len(found))
            pairs = [(ids, row) for ids, row in zip(self.tokens.prompts(rows), rows, strict=True) if len(ids) <= self.tokens.max_prompt]
            found += [ids for ids, _ in pairs]
            self._remember(dict(pairs))
            if len(found) == n:
                break
        return found

    def _remember(self, given: dict[Ids, str]) -> None:
        self.count(len(given.keys() - self.texts.keys()))
        self.texts |= given


def of_pairs(pairs: Sequence[TokenPair], tokens: Tokens, generator: np.random.Generator) -> Rows:
    """Draws of the pairs' own prompts, each once before any twice, in reshuffled epochs."""
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    order = splits.epochs(len(prompts))
    return lambda n: [tokens.prompt_text(prompts[index]) for index in order(generator, n)]
