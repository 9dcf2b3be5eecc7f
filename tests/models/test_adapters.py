"""Adapters inside the four layouts: the layer-by-layer body is transformers' own forward, what is shared is shared, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.checkpoints import ADAPTER
from harness.data.shapes import check_folder, shape
from harness.errors import HarnessError
from harness.models import adapters, storage
from harness.models.adapters import Lora
from harness.models.loading import load_model, prepare
from harness.models.metered import Metered
from harness.models.readings import shape_of
from harness.models.tiny import tiny_tokenizer
from harness.training.ledger import Ledger, Shape
from harness.types import Group
from tests.models.test_flops import CPU_ATTENTION
from tests.models.toys import GROUPS, LAYOUTS, plain_model

RANK = 4
WORDS = ("<pad>", "<bos>", "<eos>", "<sep>", *(f"w{index}" for index in range(56)))


def adapted(layout: str, *, dtype: torch.dtype = torch.float64, hidden: int = 32, moved: bool = True) -> Any:
    """A model with an adapter that says something: B drawn, where a fresh one is zero."""
    model = adapters.add(plain_model(layout, dtype=dtype, hidden=hidden), Lora(rank=RANK), seed=0)
    with torch.no_grad():
        for index, weight in enumerate(adapters.weights(model)):
            if moved:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(index)))
    return model


def metered(model: Any) -> Metered:
    return Metered(prepare(model), eos=2, pad=2, ledger=Ledger(1e15))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_body_gives_what_transformers_gives_and_its_gradients(layout: str) -> None:
    """In float64: log-probs to 1e-6, gradients of every adapter weight to 1e-5, and none of anything else."""
    group = Group((1, 7, 9, 11), ((5, 6, 2), (8, 2)))
    plain = adapted(layout)
    rows = [(1, 7, 9, 11, 5, 6, 2), (1, 7, 9, 11, 8, 2)]
    expected = torch.cat([_plain(plain, torch.tensor([row]), 4) for row in rows])
    expected.square().sum().backward()
    wanted = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    assert wanted and all(adapters.is_adapter(name) for name in wanted)
    model = metered(adapted(layout))
    seen = model.token_logps([group]).values
    assert torch.allclose(seen, expected.detach(), atol=1e-6)
    model.backward(seen.square().sum())
    found = {name: p.grad for name, p in model.model.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        assert torch.allclose(gradient, wanted[name], atol=1e-5), name


def _plain(model: Any, ids: torch.Tensor, prompt: int) -> torch.Tensor:
    log_probs = model(input_ids=ids).logits[0].log_softmax(-1)
    return log_probs[torch.arange(prompt - 1, ids.shape[1] - 1), ids[0, prompt:]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fresh_adapter_has_no_effect_at_all(layout: str) -> None:
    model = metered(adapted(layout, moved=False))
    with torch.no_grad():
        assert torch.equal(model.logps(GROUPS), model.bare().logps(GROUPS))


def test_an_adapter_merges_into_what_it_says() -> None:
    """W + alpha / rank B A: in float64 the merged model says the same to 1e-10."""
    model = metered(adapted("llama"))
    with torch.no_grad():
        before = model.logps(GROUPS)
        after = Metered(adapters.merged(model.model), eos=2, pad=2, ledger=Ledger(1e15)).logps(GROUPS)
    assert torch.allclose(before, after, atol=1e-10)


def test_the_shape_by_hand() -> None:
    """Per layer: q 32 x 32, k and v 16 x 32, o 32 x 32, and three of 48 x 32 under the toys' feed-forward width.

    An adapter of rank 4 adds 4 (a + b) to each of a x b: 4 (64 + 48 + 48 + 64 + 80 + 80 + 80) = 1856 a layer.
    """
    blocks = 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32)
    assert shape_of(adapted("llama")) == Shape(blocks + 2 * 1856, 60 * 32, 2, 32, frozen=blocks, frozen_head=60 * 32)


def test_the_price_of_learning_by_hand() -> None:
    """100 weights in the blocks, 90 of them frozen, a frozen head of 10; a prompt of 3 and responses of 2 and 1: 6 tokens, 3 outputs.

    Forward F = 2 x 100 x 6 + 4 x 2 x 4 x 32 + 2 x 10 x 3 = 2284 (test_flops.py). A backward is 2 F less the weight gradients of what is
    frozen, 2 x 90 x 6 + 2 x 10 x 3 = 1140: together 3 x 2284 - 1140 = 5712. Through a scalar head of width 4, which is trained:
    F = 2 x 100 x 6 + 1024 + 2 x 4 x 3 = 2248, and 3 x 2248 - 1080 = 5664.
    """
    group = Group((0, 0, 0), ((0, 0), (0,)))
    size = Shape(blocks=100, head=10, layers=2, width=4, frozen=90, frozen_head=10)
    assert size.learning([group]) == 5712
    assert size.scalar().learning([group]) == 5664
    assert size.bare() == Shape(blocks=90, head=10, layers=2, width=4)
    assert Shape(100, 10, 2, 4).learning([group]) == 3 * 2284


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
def test_a_backward_is_charged_what_the_flop_counter_sees(layout: str) -> None:
    """Less than 12 % apart: the first layer's inputs need no gradient, and fused attention computes its scores again, as elsewhere."""
    model = metered(adapted(layout, dtype=torch.float32, hidden=128))
    group = Group(tuple(range(3, 43)), (tuple(range(5, 29)),))
    with model.ledger.phase("update"), FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        loss = model.logps([group]).sum()
        assert model.ledger.executed["update"] == pytest.approx(counter.get_total_flops(), rel=1e-6)
        model.backward(loss)
    assert model.ledger.executed["update"] == pytest.approx(counter.get_total_flops(), rel=0.12)
    assert model.ledger.canonical["update"] == model.shape.learning([group])
    assert model.ledger.canonical["update"] < 0.75 * 3 * model.shape.scoring([group])


@pytest.mark.parametrize("targets", ["all-linear", "q_proj,v_proj"])
def test_the_shape_without_torch_is_the_model_s(tmp_path: Path, targets: str) -> None:
    plain_model("llama").save_pretrained(tmp_path)
    tiny_tokenizer(WORDS).save_pretrained(tmp_path)
    model = adapters.add(plain_model("llama"), Lora(RANK, 8.0, targets), seed=0)
    assert shape(str(tmp_path), 0, {"lora_rank": RANK, "lora_targets": targets}) == shape_of(model)


def folder(path: Path, seed: int = 0, hidden: int = 32) -> Path:
    plain_model("llama", seed=seed, hidden=hidden).save_pretrained(path)
    tiny_tokenizer(WORDS).save_pretrained(path)
    return path


def saved(path: Path, base: Path) -> Metered:
    """An adapter over a base, saved."""
    model, tokenizer = storage.load_over(base, Ledger(1e15), Lora(rank=RANK), seed=1)
    with torch.no_grad():
        for weight in adapters.weights(model.model):
            weight.add_(0.05)
    storage.save_model(path, model.model, tokenizer, base)
    return model


def test_a_saved_adapter_is_loaded_by_us_by_transformers_and_by_a_pipeline(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, pipeline

    base = folder(tmp_path / "base")
    with torch.no_grad():
        wanted = saved(tmp_path / "adapter", base).logps(GROUPS)
        again, _ = storage.load_model(tmp_path / "adapter", Ledger(1e15))
        assert torch.equal(again.logps(GROUPS), wanted)
        merged, _ = load_model(str(tmp_path / "adapter"), dtype="float32", vocabulary=(), seed=0)
        assert not adapters.has(merged)
        assert torch.allclose(Metered(merged, eos=2, pad=0, ledger=Ledger(1e15)).logps(GROUPS), wanted, atol=1e-4)
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "adapter", local_files_only=True)
        theirs = Metered(prepare(theirs.eval()), eos=2, pad=0, ledger=Ledger(1e15))
        assert torch.allclose(theirs.logps(GROUPS), wanted, atol=1e-4)
    assert check_folder(str(tmp_path / "adapter")) == tmp_path / "adapter"
    assert shape(str(tmp_path / "adapter"), 0) == shape(str(base), 0)
    say = pipeline("text-generation", model=str(tmp_path / "adapter"), device="cpu")
    assert say("w1 w2", max_new_tokens=2, do_sample=False)[0]["generated_text"].startswith("w1 w2")


def test_an_adapter_of_another_base_is_one_line(tmp_path: Path) -> None:
    """Of another width it has no place, and one of another kind, pickled, or over an absent base is told apart."""
    saved(tmp_path / "adapter", folder(tmp_path / "base"))
    folder(tmp_path / "wide", hidden=64)
    config = tmp_path / "adapter" / ADAPTER
    config.write_text(config.read_text().replace(str(tmp_path / "base"), str(tmp_path / "wide")))
    with pytest.raises(HarnessError, match=r"adapter .*: not of base .*wide: .*size") as error:
        storage.load_model(tmp_path / "adapter", Ledger(1e15))
    assert "\n" not in str(error.value)
    config.write_text(config.read_text().replace(str(tmp_path / "wide"), str(tmp_path / "gone")))
    with pytest.raises(HarnessError, match=r"its base '.*gone' is not on this machine"):
        storage.load_model(tmp_path / "adapter", Ledger(1e15))
    config.write_text(config.read_text().replace('"LORA"', '"IA3"').replace(str(tmp_path / "gone"), str(tmp_path / "base")))
    with pytest.raises(HarnessError, match=r"IA3 .* is not supported; plain LORA is wanted"):
        storage.load_model(tmp_path / "adapter", Ledger(1e15))


def test_targets_that_a_model_has_not_are_named() -> None:
    with pytest.raises(HarnessError, match=r"lora_targets: this model has no linear module 'q_prj'; legal: all-linear, down_proj"):
        adapters.add(plain_model("llama"), Lora(RANK, 8.0, "q_prj"), seed=0)
    with pytest.raises(HarnessError, match="no linear module 'lm_head'"):
        adapters.add(plain_model("llama"), Lora(RANK, 8.0, "q_proj,lm_head"), seed=0)


def test_a_twin_adds_its_gradients_and_a_recomputed_backward_is_the_same() -> None:
    model = metered(adapted("llama"))
    model.backward(model.logps(GROUPS).sum())
    wanted = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    for again in (model.twin(), model.fork()):
        again.recompute()
        again.backward(again.logps(GROUPS).sum())
        found = [p.grad for p in again.parameters() if p.grad is not None]
        assert len(found) == len(wanted) and all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, wanted, strict=True))
