"""Shapes read without torch equal those of the models themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.shapes import PRESETS, Preset, check_folder, folder_shape, shape
from harness.training.ledger import Shape

torch = pytest.importorskip("torch")


def saved(folder: Path, *, tied: bool, heads: int = 4, key_heads: int = 4, head_dim: int | None = None) -> tuple[Path, object]:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        head_dim=head_dim,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder, model


@pytest.mark.parametrize("tied", [True, False])
def test_a_llama_folder(tmp_path: Path, tied: bool) -> None:
    """Blocks: per layer q, k, v, o of 32 x 32 and three matrices of 32 x 48; the head 32 x 50, once, tied or not."""
    folder, _ = saved(tmp_path, tied=tied)
    assert shape(str(folder), 0) == Shape(blocks=3 * (4 * 32 * 32 + 3 * 32 * 48), head=32 * 50, layers=3, width=32)


def test_a_llama_folder_with_grouped_keys_and_its_own_head_size(tmp_path: Path) -> None:
    """4 query heads of 16 are wider than the hidden 32: q and o are 32 x 64, k and v (2 heads) 32 x 32, the attention width 64."""
    folder, _ = saved(tmp_path, tied=True, key_heads=2, head_dim=16)
    assert folder_shape(folder) == Shape(blocks=3 * (2 * 32 * 64 + 2 * 32 * 32 + 3 * 32 * 48), head=32 * 50, layers=3, width=64)


def test_gpt2_and_its_position_embeddings(tmp_path: Path) -> None:
    """Blocks: per layer 12 d^2 (Kaplan et al. 2020, table 1); wte is the head, wpe costs nothing."""
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1)
    ).save_pretrained(tmp_path)
    assert folder_shape(tmp_path) == Shape(blocks=2 * 12 * 16 * 16, head=50 * 16, layers=2, width=16)


@pytest.mark.parametrize("preset", [name for name, preset in PRESETS.items() if isinstance(preset, Preset)])
def test_a_preset_is_the_model_that_is_made(preset: str) -> None:
    from harness.models.tiny import SPECIAL, tiny_model

    vocabulary = [*SPECIAL, "a", "b", "c"]
    model = tiny_model(preset, vocabulary, 0)
    matrices = {name: weight.numel() for name, weight in model.named_parameters() if weight.ndim == 2}
    embedding = matrices.pop("model.embed_tokens.weight")
    found = shape(preset, len(vocabulary))
    assert (found.blocks, found.head) == (sum(matrices.values()), embedding)
    assert (found.layers, found.width) == (model.config.num_hidden_layers, model.config.hidden_size)


def test_every_preset_that_can_be_made_has_a_price() -> None:
    from harness.models import tiny

    assert set(PRESETS) == set(tiny.PRESETS)


def test_a_whole_folder_passes(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path, tied=True)
    assert check_folder(str(folder)) == folder
