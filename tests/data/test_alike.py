"""A tokenizer made by hand for a type of model whose class transformers chooses: it comes out as another one, and that is said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config

from harness.data.alike import gives_back, refuse_rebuilt
from harness.errors import HarnessError
from harness.models.loading import load_tokenizer
from harness.types import Demonstration

ROWS = [Demonstration("why", ("the cat sat",)), Demonstration("how", ("a dog ran",))]


def folder(path: Path, core: Any) -> Path:
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>").save_pretrained(path)
    Qwen2Config(vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=1).save_pretrained(path)
    return path


def words() -> Tokenizer:
    names = ["<pad>", "<eos>", "<unk>", *["the", "cat", "sat", "a", "dog", "ran"]]
    core = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return core


def letters() -> Tokenizer:
    """A byte-level tokenizer, which is of the kind that transformers makes of such a folder."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({name: place for place, name in enumerate(["<pad>", "<eos>", *alphabet])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return core


def test_a_folder_that_is_read_as_another_tokenizer_is_refused_in_one_line(tmp_path: Path) -> None:
    """Of whole words a byte-level class knows the letter a alone: it stands in the vocabulary as a word."""
    read = load_tokenizer(folder(tmp_path, words()))
    with pytest.raises(HarnessError) as caught:
        refuse_rebuilt(read, ROWS)
    assert str(caught.value) == (
        f"model folder {tmp_path}: transformers reads it as a Qwen2Tokenizer, by the model's type, and not as its tokenizer.json has it: "
        "2 of 2 responses get other ids and are lost, 'the cat sat' comes back as 'aa'. Give the folder a tokenizer of that kind, or "
        "choose another type of model."
    )


def test_a_tokenizer_of_the_kind_that_is_made_of_it_passes(tmp_path: Path) -> None:
    read = load_tokenizer(folder(tmp_path, letters()))
    refuse_rebuilt(read, ROWS)
    assert gives_back(read, "The  cat sat.") and not gives_back(load_tokenizer(folder(tmp_path / "b", words())), "The cat")


def test_the_same_words_under_a_type_without_a_class_pass(tmp_path: Path) -> None:
    place = folder(tmp_path, words())
    (place / "config.json").write_text(re.sub(r'"qwen2"', '"llama"', (place / "config.json").read_text()))
    refuse_rebuilt(load_tokenizer(place), ROWS)
