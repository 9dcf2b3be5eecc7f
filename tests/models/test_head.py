"""The chunked output head, mixed precision and recomputed activations: the same numbers, and executed FLOPs that say what they cost."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.models import head, kernels, layers, precision
from harness.models.loading import prepare
from harness.models.metered import Metered
from harness.training.ledger import Ledger
from tests.models.toys import GROUPS, LAYOUTS, metered, plain_model


def _added(total: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...], *args: object, **kwargs: object) -> int:
    return 2 * a[0] * a[1] * b[1]


IN_PLACE = {torch.ops.aten.addmm_: _added}  # the stock counter knows the product that makes a new tensor alone


def trained(model: Metered) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Log-probs, entropies, and the gradients of a weighted sum of the log-probs."""
    logps, entropies = model.token_logps_and_entropies(GROUPS)
    weights = torch.linspace(-1, 1, len(logps.values), dtype=logps.values.dtype)
    model.backward((logps.values * weights).sum())
    found = {name: p.grad for name, p in model.model.named_parameters() if p.grad is not None}
    return logps.values.detach(), entropies.values, found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("pad", [0, 2])
def test_a_head_in_chunks_gives_the_same_log_probs_entropies_and_gradients(
    layout: str, dtype: torch.dtype, pad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1e-10 in float64, 1e-6 relative in float32, gradients 1e-5; chunks of 5 positions of 60 logits."""
    logps, entropies, wanted = trained(metered(layout, dtype=dtype, pad=pad))
    monkeypatch.setattr(head, "CHUNK", 300)
    cut = metered(layout, dtype=dtype, pad=pad)
    assert cut.output.cut(len(logps))
    seen, spread, found = trained(cut)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-6 * float(logps.abs().max())
    assert (seen - logps).abs().max() <= tolerance
    assert (spread - entropies).abs().max() <= tolerance
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-12, name


def test_a_bias_gets_its_gradient_from_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for size in (10**9, 300):
        monkeypatch.setattr(head, "CHUNK", size)
        model = biased()
        trained(model)
        gradients.append(model.model.get_output_embeddings().bias.grad)
    assert (gradients[1] - gradients[0]).norm() <= 1e-5 * gradients[0].norm()


def biased() -> Metered:
    model = plain_model("gpt_neox")
    output = nn.Linear(32, 60)
    output.load_state_dict({"weight": model.get_output_embeddings().weight, "bias": torch.linspace(-1, 1, 60)})
    model.set_output_embeddings(output)
    return Metered(prepare(model), eos=2, pad=2, ledger=Ledger(1e15))


def test_a_small_vocabulary_is_not_cut() -> None:
    assert not metered().output.cut(1000)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_recomputed_activations_give_the_same_gradients(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit through transformers' forward: the same kernels in the same order. A copy recomputes as well, and dropout stays off."""
    monkeypatch.setattr(layers, "KNOWN", {})
    plain, lean = metered(layout), metered(layout).fork()
    lean.recompute()
    lean = lean.fork()
    logps, _, wanted = trained(plain)
    seen, _, found = trained(lean)
    assert torch.equal(seen, logps)
    assert all(torch.equal(found[name], gradient) for name, gradient in wanted.items())
    assert not any(m.training for m in lean.model.modules() if isinstance(m, nn.Dropout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_recomputing_keeps_less(layout: str) -> None:
    """Numbers kept for the backward, weights aside."""
    plain, lean = metered(layout), metered(layout)
    lean.recompute()
    assert kept(lean) < 0.5 * kept(plain)


def kept(model: Metered) -> int:
    own = {p.data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}

    def note(x: torch.Tensor) -> torch.Tensor:
        if x.data_ptr() not in own:
            sizes[x.data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        hidden = model.model.base_model(**forward_arguments(model))
    del hidden
    return sum(sizes.values())


def forward_arguments(model: Metered) -> dict[str, Any]:
    from harness.models.packing import pack

    packed = pack(GROUPS, model.device)
    return {"input_ids": packed.ids, "position_ids": packed.positions, "use_cache": False, "layout": packed}


@pytest.mark.parametrize("chunk", [300, 10**9])
@pytest.mark.parametrize("recomputed", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_executed_flops_count_what_a_backward_computes_again(
    layout: str, chunk: int, recomputed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against torch's counter, with attention as products, which it sees on the CPU; canonical FLOPs know nothing of either."""
    monkeypatch.setattr(head, "CHUNK", chunk)
    monkeypatch.setattr(kernels, "explicit", lambda x: True)
    model = metered(layout)
    if recomputed:
        model.recompute()
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter, model.ledger.phase("update"):
        trained(model)
    assert model.ledger.executed["update"] == pytest.approx(counter.get_total_flops(), rel=1e-6)
    assert model.ledger.canonical["update"] == pytest.approx(3 * model.shape.scoring(GROUPS))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunk", [300, 10**9])
def test_mixed_precision_keeps_float32_weights_and_comes_near_float32(layout: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products in bfloat16 have 8 bits: log-probs within a few hundredths of a nat per nat, and not the float32 ones."""
    logps, _, wanted = trained(metered(layout))
    monkeypatch.setattr(head, "CHUNK", chunk)
    model = Metered(prepare(precision.store(plain_model(layout), "mixed", torch.device("cpu"))), eos=2, pad=2, ledger=Ledger(1e15))
    seen, _, found = trained(model.fork())
    assert precision.named(model.model) == "mixed"
    assert not torch.equal(seen, logps)
    assert seen.dtype == torch.float32
    assert (seen - logps).abs().mean() <= 0.05 * logps.abs().mean()
    assert all(found[name].dtype == torch.float32 for name in wanted)


def test_a_model_whose_logits_are_large_may_be_mixed_too() -> None:
    """Whether the layout is right is asked in float32: here bfloat16 moves log-probs by nats."""
    model = plain_model("llama")
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(30 if weight.ndim == 2 else 1)
    plain = Metered(prepare(copy.deepcopy(model)), eos=2, pad=2, ledger=Ledger(1e15))
    mixed = Metered(prepare(precision.store(model, "mixed", torch.device("cpu"))), eos=2, pad=2, ledger=Ledger(1e15))
    assert precision.named(model) == "mixed"
    with torch.no_grad():
        assert (mixed.logps(GROUPS) - plain.logps(GROUPS)).abs().max() > 1


def test_mixed_precision_travels_with_a_saved_model(tmp_path: Any) -> None:
    from transformers import AutoModelForCausalLM

    precision.store(plain_model("llama"), "mixed", torch.device("cpu")).save_pretrained(tmp_path)
    assert precision.mixed(AutoModelForCausalLM.from_pretrained(tmp_path))


def test_mixed_precision_samples_from_what_it_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log-probs kept while sampling are those of scoring, to bfloat16's rounding in another order."""
    from harness.types import Group

    model = Metered(prepare(precision.store(plain_model("llama"), "mixed", torch.device("cpu"))), eos=2, pad=2, ledger=Ledger(1e15))
    [[sample]] = model.sample([(1, 7, 9)], max_tokens=8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scored = model.token_logps([Group((1, 7, 9), (sample.ids,))]).values
    assert (scored - torch.tensor(sample.logps)).abs().max() <= 0.2
