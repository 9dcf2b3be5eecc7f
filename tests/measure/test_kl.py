"""KL(policy || reference) against exact enumeration on a vocabulary of 8, and the alarm that must sound and must not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness.measure import compared as comparing
from harness.measure.compared import compared
from harness.measure.kl import cross_check
from harness.measure.yardstick import Yardstick
from harness.models import head
from harness.models.loading import prepare
from harness.models.metered import Metered
from harness.training.ledger import Ledger
from harness.types import Group, Response, Sample

EOS, PAD, SIZE, LONGEST = 1, 0, 8, 3
PROMPT = (3, 4, 5)


def small(seed: int) -> Metered:
    """A random Llama over 8 tokens, pad masked."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=SIZE,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.5,
        bos_token_id=2,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Metered(prepare(LlamaForCausalLM(config).double()), eos=EOS, pad=PAD, ledger=Ledger(1e15))


def every_response() -> list[tuple[int, ...]]:
    """All responses of at most ``LONGEST`` tokens: ended by EOS, or cut off."""
    words = [t for t in range(SIZE) if t not in (EOS, PAD)]
    ended = [(*body, EOS) for n in range(LONGEST) for body in itertools.product(words, repeat=n)]
    return ended + list(itertools.product(words, repeat=LONGEST))


@torch.no_grad()
def exact_kl(policy: Metered, reference: Metered) -> float:
    """Sum over all responses of pi (log pi - log ref)."""
    group = [Group(PROMPT, tuple(every_response()))]
    ours, theirs = policy.logps(group), reference.logps(group)
    assert ours.exp().sum().item() == pytest.approx(1.0, abs=1e-9)  # the enumeration is complete and the pad is outside it
    return float((ours.exp() * (ours - theirs)).sum())


def test_the_rao_blackwellised_estimate_is_unbiased_and_far_tighter_than_k1() -> None:
    policy, reference = small(0), small(1)
    truth = exact_kl(policy, reference)
    drawn = policy.sample([PROMPT], samples=4000, max_tokens=LONGEST, generator=torch.Generator().manual_seed(0))[0]
    found = policy.divergence(reference, [Group(PROMPT, tuple(s.ids for s in drawn))])
    for estimate in (found.kl, found.log_ratio):
        error = float(estimate.std() / len(drawn) ** 0.5)
        assert abs(float(estimate.mean()) - truth) < 4 * error
    assert float(found.kl.std()) < 0.7 * float(found.log_ratio.std())
    assert bool((found.kl >= 0).all())


def test_the_forward_estimate_is_the_reference_s_divergence_from_the_policy() -> None:
    """Read on the reference's own responses, one to a prompt, it has the mean of ref (log ref - log pi) over all responses."""
    policy, reference = small(0), small(1)
    theirs = reference.sample([PROMPT], samples=2000, max_tokens=LONGEST, generator=torch.Generator().manual_seed(1))[0]
    groups, text = [Group(PROMPT, (theirs[0].ids,))] * len(theirs), Group(PROMPT, ((6, 7, EOS),))
    with torch.no_grad():
        columns = compared(policy, met(reference, theirs, text), groups)
        own, held = policy.divergence(reference, groups[:1]), policy.logps([text])
    found = columns["forward_kl"]
    assert columns["kl"] == pytest.approx(float(own.kl)) and columns["k1"] == pytest.approx(float(own.log_ratio))
    assert columns["demonstration_nll"] == pytest.approx(-float(held) / 3)
    truth, other = exact_kl(reference, policy), exact_kl(policy, reference)
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - truth) < 4 * error < abs(truth - other)


def met(reference: Metered, theirs: Sequence[Sample], text: Group) -> Any:
    """A yardstick of the reference's samples to one prompt, and of the data's own response to it."""
    opponents = [[Response("", each.ids, each.finished)] for each in theirs]
    known: dict[str, Any] = {"demonstrated": [text] * len(theirs), "prompts": [PROMPT] * len(theirs)}
    blank = dict.fromkeys(("judge", "evaluation", "standings", "probes", "twins", "refusals", "proxy", "heldout", "heldout_logps", "seed"))
    tokens: Any = SimpleNamespace(max_response=LONGEST)
    return Yardstick(tokens=tokens, reference=reference, opponents=opponents, gold=False, known=known, **blank)  # type: ignore[arg-type]


@torch.no_grad()
def test_prompts_that_were_read_before_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With prompts read, and with distributions of frozen responses held; the reference is then asked for them once."""
    policy, reference = small(0), small(1)
    theirs = reference.sample([PROMPT], samples=20, max_tokens=LONGEST, generator=torch.Generator().manual_seed(1))[0]
    own = policy.sample([PROMPT], samples=20, max_tokens=LONGEST, generator=torch.Generator().manual_seed(2))[0]
    groups, text = [Group(PROMPT, (each.ids,)) for each in own], Group(PROMPT, ((6, 7, EOS),))
    plain = compared(policy, met(reference, theirs, text), groups)
    past = policy.read([PROMPT] * len(groups), LONGEST)
    assert past is not None
    for held in (0, comparing.HELD_BYTES):
        monkeypatch.setattr(comparing, "HELD_BYTES", held)
        yard = met(reference, theirs, text)
        for _ in range(2):
            for name, values in compared(policy, yard, groups, past).items():
                np.testing.assert_allclose(values, plain[name], rtol=1e-9, atol=1e-12)
        assert ("distributions 20" in yard.known) == bool(held)
    first = compared(policy, yard, groups[:5], past.first(5))
    np.testing.assert_allclose(first["forward_kl"], plain["forward_kl"][:5], rtol=1e-9)


def test_a_policy_has_no_divergence_from_itself() -> None:
    policy = small(0)
    drawn = policy.sample([PROMPT], samples=50, max_tokens=LONGEST, generator=torch.Generator().manual_seed(0))[0]
    found = policy.divergence(policy.frozen(), [Group(PROMPT, tuple(s.ids for s in drawn))])
    assert float(found.kl.abs().max()) < 1e-12
    assert float(found.log_ratio.abs().max()) < 1e-12


def test_entropy_is_that_of_the_masked_distribution() -> None:
    policy = small(0)
    with torch.no_grad():
        logps = policy.logps([Group(PROMPT, tuple((t,) for t in range(SIZE) if t != PAD))])
        entropy = policy.divergence(policy, [Group(PROMPT, ((EOS,),))]).entropy
    assert float(entropy) == pytest.approx(float(-(logps.exp() * logps).sum()), abs=1e-9)


def test_the_cross_check_sounds_for_a_wrong_estimate_and_not_for_a_noisy_one() -> None:
    generator = np.random.default_rng(0)
    kl = generator.gamma(4.0, 0.25, 384)
    noisy = kl + generator.normal(0, 1.5, 384)
    assert cross_check(kl, noisy) is None
    assert "disagree" in str(cross_check(kl, noisy + 1.0))
    assert cross_check(np.zeros(10), np.zeros(10)) is None


def test_a_divergence_holds_the_distributions_of_few_tokens_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, reference, held = small(0), small(1), []
    group = [Group(PROMPT, tuple(every_response()))]
    whole = policy.divergence(reference, group)
    monkeypatch.setattr(head, "CHUNK", 40 * SIZE)
    monkeypatch.setattr(head.OutputHead, "log_probs", lambda self, states: held.append(len(states)) or self.logits(states).log_softmax(-1))
    cut = policy.divergence(reference, group)
    assert max(held) == 40 and sum(held) == 2 * sum(map(len, every_response()))
    for before, after in zip(whole, cut, strict=True):
        torch.testing.assert_close(before, after, rtol=1e-12, atol=1e-12)
