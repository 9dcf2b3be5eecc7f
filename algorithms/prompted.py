"""Few-shot prompting: the model as it is, asked after worked examples (Brown et al. 2020, arXiv 2005.14165, in-context learning).

No weight moves. ``shots`` pairs are drawn at random, and each prompt with its chosen response is put before every prompt, token for token.
The examples are labels, and counted as such; they are read with every answer, so an answer costs a prompt that is longer by them, and
this is measured and charged on ``answered`` training prompts. Nothing else of the budget is spent, so it is ranked with nothing.
``--set prompted.init=base`` asks the model before SFT, which is what few-shot prompting was proposed for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

import torch

from harness import HarnessError
from harness.training.answers import serve, typical
from harness.types import Setup, Update

grid = {"shots": (1, 2, 4)}
family = "prompting"
source = "Brown et al. 2020, arXiv 2005.14165"
untrained = True
optimum = "none known"
single = True  # desirable responses are examples, whatever they were compared with
cost = "2 N an answer, examples included"


@dataclass(frozen=True)
class Prompted:
    """Hyperparameters."""

    name: ClassVar[str] = "prompted"

    shots: int = 2
    answered: int = 64  # training prompts

    def updates(self, setup: Setup) -> Iterator[Update]:
        """One update: what an answer takes."""
        shots, answered = (int(setup.settings.get(name, getattr(self, name))) for name in ("shots", "answered"))
        pairs = [pair for pair in setup.pairs if pair.chosen]
        if not 1 <= shots <= len(pairs):
            raise HarnessError(f"prompted.shots = {shots}: must lie between 1 and the {len(pairs)} pairs.")
        chosen = [pairs[i] for i in torch.randperm(len(pairs), generator=setup.generator)[:shots].tolist()]
        examples = tuple(chain(*((*pair.prompt, *pair.chosen) for pair in chosen)))
        setup.ledger.count(labels=shots)
        longest = max(len(pair.prompt) for pair in setup.pairs) + setup.max_response_tokens
        policy = setup.policy.prompted(examples, longest)
        prompt, response = typical(setup)
        yield serve(setup, policy, answered, policy.shape.sampling(len(examples) + prompt, [response]))


algorithm = Prompted
