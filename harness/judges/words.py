"""Baselines that read no meaning: length, and words shared with a text. A judge that agrees with people no better than these is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.errors import HarnessError
from harness.measure.text import rouge_l
from harness.types import Array, Response

References = Mapping[str, Sequence[str]]  # by prompt: the responses that the data has


def length(prompts: Sequence[str], responses: Sequence[Response]) -> Array:
    """Words of each response, (responses,)."""
    return np.array([len(response.text.split()) for response in responses], dtype=np.float64)


def overlap(prompts: Sequence[str], responses: Sequence[Response]) -> Array:
    """ROUGE-L F1 (Lin 2004) of each response with its prompt, (responses,): how much of the prompt it repeats, in its order."""
    return np.array([rouge_l(response.text, prompt) for prompt, response in zip(prompts, responses, strict=True)])


class Rouge:
    """ROUGE-L F1 (Lin 2004) with the best of the data's own responses to the prompt.

    Raises HarnessError where a prompt has none, or where what is judged is one of them: it would win because it is the measure.
    """

    def __init__(self, references: References) -> None:
        """``references`` by prompt."""
        self.references = references

    def __call__(self, prompts: Sequence[str], responses: Sequence[Response]) -> Array:
        """(responses,)."""
        self.refuse(prompts, responses)
        both = zip(prompts, responses, strict=True)
        return np.array([max(rouge_l(response.text, reference) for reference in self.references[prompt]) for prompt, response in both])

    def refuse(self, prompts: Sequence[str], responses: Sequence[Response]) -> None:
        """HarnessError where one of these cannot be scored; nothing is compared."""
        for prompt, response in zip(prompts, responses, strict=True):
            references = self.references.get(prompt, ())
            if not references:
                raise HarnessError(f"judge 'rouge': no reference response to {prompt[:60]!r}; 'rouge-prompt' compares with the prompt.")
            if response.text in references:
                raise HarnessError("judge 'rouge': what it is to judge is itself the reference; 'rouge-prompt' compares with the prompt.")
