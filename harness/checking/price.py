"""What a pair costs a loss: forwards and FLOPs, by the prices that the ledger charges."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from harness.data.shapes import PRESETS
from harness.training.batches import ReferenceKey, affordable, pairs_in, rows, take
from harness.training.ledger import Ledger
from harness.training.preference import PreferenceLoss
from harness.types import Group, TokenPair

MODEL, VOCABULARY = "tiny-128", 244  # the embedded model over a world of 244 words
PROMPT, RESPONSE = 64, 24  # tokens
PAIRS = 64


class Price(NamedTuple):
    """FLOPs of a pair while its reference forward is due, and afterwards; ``forward`` is one forward over prompt and both responses."""

    first: float
    later: float
    forward: float

    def text(self) -> str:
        """In forwards and in FLOPs."""
        due = f"{self.first / self.forward:.2f} forwards ({self.first:.3g} FLOPs)"
        return f"{due} in the first epoch, {self.later / self.forward:.2f} ({self.later:.3g}) in every later one"


def price(loss: PreferenceLoss) -> Price:
    """The price of a pair at the declared sizes: a backward counts as two forwards, a prompt is read once for both responses."""
    pairs = [TokenPair(row, (1,) * PROMPT, (2,) * RESPONSE, (3,) * RESPONSE, 1.0, 1.0) for row in range(PAIRS)]
    shape = PRESETS[MODEL].shape(VOCABULARY)
    generator = torch.Generator().manual_seed(0)
    stream = rows(pairs, loss.signature, generator)
    paid: set[ReferenceKey] = set()
    scored: set[int] = set()
    found = []
    for _ in range(2):
        taken = take(stream, PAIRS * (2 if loss.signature.unpaired else 1))
        batch = affordable(taken, loss.signature, shape, paid, Ledger(math.inf), generator, scored=scored)
        assert batch is not None
        found.append(batch.price / pairs_in(batch.examples, loss.signature))
        paid |= batch.due.keys()
        scored |= batch.unscored.keys()
    forward = shape.scoring([Group(pairs[0].prompt, (pairs[0].chosen, pairs[0].rejected))])
    return Price(found[0], found[1], forward)
