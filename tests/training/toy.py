"""A tiny real model on made-up pairs: what the tests of the offline loop train."""

from collections.abc import Sequence
from typing import Any

import torch

from harness.models.loading import load_model, meter
from harness.models.metered import Metered
from harness.training.ledger import Ledger
from harness.types import Group, Setup, TokenPair

VOCABULARY = ("<pad>", "<bos>", "<eos>", "<sep>", *(f"word{i}" for i in range(28)))


def toy_pairs(count: int, seed: int = 0) -> list[TokenPair]:
    """Pairs with prompts of 3-9 tokens; the chosen response walks among low words, the rejected among high ones, both end in EOS."""
    generator = torch.Generator().manual_seed(seed)

    def words(low: int, high: int, least: int, most: int) -> tuple[int, ...]:
        length = int(torch.randint(least, most, (), generator=generator))
        return tuple(torch.randint(low, high, (length,), generator=generator).tolist())

    return [
        TokenPair(i, (1, *words(4, 32, 3, 9), 3), (*words(4, 24, 2, 8), 2), (*words(12, 32, 2, 8), 2), agreement=0.9, margin=1.0)
        for i in range(count)
    ]


def toy_setup(
    *,
    pairs: Sequence[TokenPair] | None = None,
    limit: float = 2e9,
    batch_pairs: int = 8,
    dtype: str = "float32",
    seed: int = 0,
    policy: type[Metered] = Metered,
    **settings: Any,
) -> Setup:
    """A setup whose policy starts as the reference; ``settings`` override hyperparameters and optimiser."""
    pairs = toy_pairs(24) if pairs is None else pairs
    ledger = Ledger(limit)
    model, tokenizer = load_model("tiny-64", dtype=dtype, vocabulary=VOCABULARY, seed=0)
    start = meter(model, tokenizer, ledger)
    reference = start.frozen()
    with torch.no_grad():
        logps = reference.logps([Group(p.prompt, (p.chosen, p.rejected)) for p in pairs]).view(-1, 2)
    start.ledger.canonical.clear()
    moving = policy(model, eos=start.eos, pad=start.pad, ledger=ledger)
    generator = torch.Generator().manual_seed(seed)
    return Setup(moving, reference, pairs, (), logps, lambda n: [], None, ledger, settings, generator, batch_pairs, 16, seed)
