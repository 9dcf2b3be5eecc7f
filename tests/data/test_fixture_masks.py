"""Rows of both file layouts, traps and all, down to the tokens that are scored: every one of the response and its EOS, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from harness.data.tokenise import Tokens
from harness.models.packing import pack
from harness.types import Group
from tasks.tldr import task

FIXTURES = Path(__file__).parents[1] / "fixtures"


def byte_tokenizer() -> Any:
    """One id per byte, pad equal to EOS: nothing hides in a vocabulary."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={"<end>": 0, **{c: i + 1 for i, c in enumerate(alphabet)}}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>")


@pytest.mark.parametrize("name", ["tldr_judged.csv", "tldr_pairs.jsonl"])
def test_what_is_scored_is_the_response_and_its_eos(name: str) -> None:
    world = task(FIXTURES / name)
    tokens = Tokens(byte_tokenizer(), max_prompt=4000, max_response=600)
    every = [*(world.pairs or ()), *world.judge_pairs, *world.tuning_pairs, *world.heldout_pairs]
    kept = tokens.pairs(every)
    assert kept and len(kept) + sum(tokens.dropped.values()) == len(every)
    packed = pack([Group(p.prompt, (p.chosen, p.rejected)) for p in kept], torch.device("cpu"))
    texts = {(" ".join(p.prompt.split()), " ".join(r.text.split())) for p in every for r in (p.chosen, p.rejected)}
    start = 0
    for pair, lengths in zip(kept, packed.lengths.view(-1, 2).tolist(), strict=True):
        prompt = tokens.text(pair.prompt)
        for length in lengths:
            scored = packed.targets[start : start + length].tolist()
            start += length
            assert scored[-1] == tokens.eos and tokens.eos not in scored[:-1]
            said = tokens.text(scored)
            assert said == said.strip() and not said.startswith(" ")
            assert (" ".join(prompt.split()), " ".join(said.split())) in texts
            assert len(scored) - 1 == len(f" {said}".encode())  # the joining space, every byte of the response, nothing of the prompt
    assert start == len(packed.targets)


def test_an_over_long_row_is_dropped_for_everybody_and_counted() -> None:
    world = task(FIXTURES / "tldr_pairs.jsonl")
    tokens = Tokens(byte_tokenizer(), max_prompt=1000, max_response=600)
    every = [*(world.pairs or ()), *world.judge_pairs, *world.tuning_pairs, *world.heldout_pairs]
    kept = tokens.pairs(every)
    assert len(kept) < len(every)
    assert tokens.dropped["pairs: prompt too long"] == len(every) - len(kept)
