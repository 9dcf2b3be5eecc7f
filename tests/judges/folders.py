"""Tiny transformers folders made on the spot: causal and bidirectional classifiers, and a model that says one sentence."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

WORDS = ("good", "bad", "film", "cat", "sat", "mat", "why", "because", "the", "a")
CHAT = (
    "{% for message in messages %}{{ '<user> ' if message.role == 'user' else '<model> ' }}{{ message.content }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<model>{% endif %}"
)


def tokenizer(words: tuple[str, ...], *, template: str = "", pair: bool = False, **special: Any) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words; ``pair`` puts [CLS] and [SEP] around two texts, as BERT's does."""
    names = ["<unk>", *words, *(token for token in special.values() if isinstance(token, str) and token not in words)]
    ids = {word: index for index, word in enumerate(dict.fromkeys(names))}
    made = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if pair:
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
        )
    found = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", **{"model_max_length": 64, **special})
    if template:
        found.chat_template = template
    return found


def causal(place: Path, *, pad: str | None = None, own_pad: bool = False, template: str = "", side: str = "left", labels: int = 1) -> Path:
    """A random causal classifier; ``own_pad`` says that its configuration knows the padding token, ``pad`` is the tokenizer's."""
    words = (*WORDS, "<user>", "<model>", "<end>")
    special = {"eos_token": "<eos>", **({"pad_token": pad} if pad else {})}
    made = tokenizer(words, template=template, padding_side=side, **special)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(made), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=64
    )
    config.num_labels, config.pad_token_id, config.bos_token_id = labels, None, None
    config.eos_token_id = made.eos_token_id
    if own_pad:
        config.pad_token_id = made.pad_token_id
    return _saved(LlamaForSequenceClassification(config), made, place)


def sentiment(place: Path, names: tuple[str, ...] = ("NEGATIVE", "POSITIVE"), problem: str | None = None) -> Path:
    """A random BERT of named labels."""
    made = tokenizer(WORDS, pair=True, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=len(made), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=64
    )
    config.pad_token_id, config.problem_type, config.initializer_range = made.pad_token_id, problem, 0.5
    config.id2label, config.label2id = dict(enumerate(names)), {name: index for index, name in enumerate(names)}
    return _saved(BertForSequenceClassification(config), made, place)


def speaker(place: Path, said: str) -> Path:
    """A Llama that answers every question with ``said``: with no layer, the next token hangs on the last one alone, and a chain of rows
    of the output layer says which. No two words of ``said`` may be equal.
    """
    chain = ["<model>", *said.split(), "<eos>"]
    made = tokenizer((*WORDS, "<user>", "<end>", *chain), template=CHAT, eos_token="<eos>", model_max_length=4096)
    config = LlamaConfig(
        vocab_size=len(made), hidden_size=128, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=4096
    )
    config.eos_token_id, config.bos_token_id, config.pad_token_id = made.eos_token_id, None, made.eos_token_id
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight[torch.arange(len(made)), torch.arange(len(made))] = 1.0
        ids = made.convert_tokens_to_ids(chain)
        for before, after in itertools.pairwise(ids):
            model.lm_head.weight[after, before] = 1.0
    return _saved(model, made, place)


def _saved(model: Any, made: PreTrainedTokenizerFast, place: Path) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(place, safe_serialization=True)
    made.save_pretrained(place)
    return place
