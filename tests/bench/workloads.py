"""What is timed: models and data of declared sizes, the same text, tokens and weights for every side of a comparison."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.data.tokenise import Tokens
from harness.execute.allocation import SMALL, keep
from harness.models.tiny import tiny_tokenizer
from harness.types import Pair, Response, Task, TokenPair
from tasks.tldr import task

PRETRAINED = "HARNESS_BENCH_MODEL"  # the folder of SmolLM2-135M, or of another causal model of its size


class Size(NamedTuple):
    """A Llama made from scratch: widths, layers, heads and words of its vocabulary."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    vocabulary: int


@dataclass(frozen=True)
class Workload:
    """Pairs of lengths drawn evenly from (least, most) words, in batches; ``size`` is None for the model of a folder.

    A cycle is one epoch over ``batches`` batches: everything that is timed is timed over whole cycles, so every side sees the same tokens.
    """

    name: str
    size: Size | None
    prompt: tuple[int, int]
    response: tuple[int, int]
    batch: int
    batches: int
    new_tokens: int
    prompts: int  # sampled together

    @property
    def pairs(self) -> int:
        """Pairs of one cycle."""
        return self.batch * self.batches


W1 = Workload("W1", Size(128, 384, 6, 4, 1000), (64, 128), (13, 33), batch=32, batches=4, new_tokens=24, prompts=64)
W2 = Workload("W2", None, (180, 306), (31, 61), batch=4, batches=2, new_tokens=48, prompts=16)
STEP = Workload("hidden-16", Size(16, 40, 2, 2, 1000), (6, 12), (3, 6), batch=1, batches=100, new_tokens=4, prompts=4)
WORKLOADS = {workload.name: workload for workload in (W1, W2, STEP)}


def smoke(workload: Workload) -> Workload:
    """The same machinery at a size that takes seconds: a hidden-16 model, a few short pairs."""
    few = {"batch": min(workload.batch, 4), "batches": 2, "new_tokens": 4, "prompts": 4}
    return replace(workload, size=STEP.size, prompt=STEP.prompt, response=STEP.response, **few)


def folder() -> Path:
    """The folder of the pretrained model; ``available`` says whether there is one."""
    return Path(os.environ[PRETRAINED])


def missing(workload: Workload) -> str:
    """Why this workload cannot run here, empty where it can."""
    if workload.size is not None:
        return ""
    found = os.environ.get(PRETRAINED, "")
    return "" if (Path(found) / "config.json").is_file() else f"{PRETRAINED} names no model folder: {found!r}"


def keep_memory(workload: Workload) -> None:
    """Let this process keep its memory where a worker of this model would; what that gains, every side in the process has."""
    keep(SMALL if workload.size is None else 0)


@cache
def world() -> Task:
    """The embedded task, whose words everything is made of."""
    return task()


def vocabulary(size: Size) -> tuple[str, ...]:
    """The embedded task's words, filled up with words that no text uses."""
    words = world().vocabulary
    return (*words, *(f"word{i}" for i in range(len(words), size.vocabulary)))


def tokenizer(workload: Workload) -> Any:
    """The workload's tokenizer: the embedded task's, or the folder's."""
    from transformers import AutoTokenizer

    if workload.size is not None:
        return tiny_tokenizer(vocabulary(workload.size))
    return AutoTokenizer.from_pretrained(folder(), local_files_only=True)


def plain_model(workload: Workload, *, attention: str = "sdpa", dtype: torch.dtype = torch.float32) -> Any:
    """A transformers model with the same weights at every call."""
    from transformers import AutoModelForCausalLM

    if workload.size is None:
        model = AutoModelForCausalLM.from_pretrained(folder(), local_files_only=True, dtype=dtype)
        model.set_attn_implementation(attention)
        return model
    return scratch(workload.size, attention, longest=4096).to(dtype)


def scratch(size: Size, attention: str, longest: int) -> Any:
    """A Llama with tied embeddings, initialised from seed 0, that takes sequences up to ``longest`` tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=longest,
        tie_word_embeddings=True,
        initializer_range=0.12,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config._attn_implementation = attention
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config)


@cache
def texts(workload: Workload, count: int) -> Sequence[Pair]:
    """Pairs cut from the embedded task's posts and references to the workload's lengths; the same at every call."""
    generator = np.random.default_rng(0)
    posts, said = _words(generator, prompts=True), _words(generator, prompts=False)

    def cut(words: Iterator[str], lengths: tuple[int, int]) -> str:
        return " ".join(islice(words, int(generator.integers(lengths[0], lengths[1], endpoint=True))))

    return [
        Pair(cut(posts, workload.prompt), Response(cut(said, workload.response)), Response(cut(said, workload.response)))
        for _ in range(count)
    ]


def _words(generator: np.random.Generator, *, prompts: bool) -> Iterator[str]:
    """Words of the task's posts, or of its references, without end."""
    while True:
        for row in world().demonstrations(generator, 64):
            yield from (row.prompt if prompts else row.responses[0]).split()


def token_pairs(rows: Sequence[Pair], tokenizer: Any) -> list[TokenPair]:
    """The rows as every algorithm of the harness sees them; raises AssertionError where a row was dropped."""
    found = Tokens(tokenizer, 10**6, 10**6).pairs(rows)
    assert len(found) == len(rows)
    return found
