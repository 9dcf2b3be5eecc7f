"""The embedded models, trained from scratch in the process: small Llamas over a word-level vocabulary, and tables of single words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from harness.errors import HarnessError

PRESETS = {"tiny-128": 128, "tiny-64": 64, "table": 0, "network": 16}
ENUMERABLE = ("table", "network")  # of what may be said one by one: a task's responses are single words, the last of its vocabulary
SPECIAL = ("<pad>", "<bos>", "<eos>", "<sep>")


def tiny_tokenizer(vocabulary: Sequence[str]) -> Any:
    """A transformers tokenizer over whole words split at white space; ``<bos>`` opens every prompt."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: index for index, word in enumerate(vocabulary)}
    core = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", words["<bos>"])])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )


def enumerable_model(preset: str, vocabulary: Sequence[str], responses: int, seed: int) -> Any:
    """An ``Enumerable``, uniform over the last ``responses`` words: a table, or a network of 16 hidden units initialised from ``seed``."""
    from harness.models.enumerable import Enumerable, EnumerableConfig

    if not responses:
        raise HarnessError(f"model {preset!r}: is of tasks whose responses are single words of a list, which this one is not.")
    first, words = len(SPECIAL), len(vocabulary)
    size = {"first": first, "prompts": words - first - responses, "responses": responses, "hidden": PRESETS[preset]}
    return Enumerable(EnumerableConfig(**size, seed=seed, pad_token_id=0, bos_token_id=1, eos_token_id=2))


def tiny_model(preset: str, vocabulary: Sequence[str], seed: int) -> Any:
    """A float32 ``LlamaForCausalLM``: 2 layers, 4 heads, tied embeddings, initialised with std 0.12 from ``seed``.

    Two layers, the large initialisation and tied embeddings are what a search over ten configurations settled on: 1000 steps, 100 s of one
    core, and the model binds words by context (results/LOG.md).
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden = PRESETS[preset]
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3 // 8 * 8,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.12,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
