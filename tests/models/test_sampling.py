"""The sampler equals transformers' generate under greedy decoding, keeps true log-probs, and draws from the distribution it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from harness.types import Group
from tests.models.toys import LAYOUTS, metered, plain_model

PROMPTS = [(1, 7, 9, 11), (1, 3), (1, 20, 21, 22, 23, 24)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_greedy_decoding_equals_transformers_generate(layout: str, seed: int) -> None:
    model, plain = metered(layout, seed=seed), plain_model(layout, seed=seed)
    drawn = model.sample(PROMPTS, samples=2, max_tokens=10, temperature=0.0, generator=generator())
    for prompt, row in zip(PROMPTS, drawn, strict=True):
        expected = plain.generate(torch.tensor([prompt]), max_new_tokens=10, do_sample=False, eos_token_id=2, pad_token_id=2)
        wanted = expected[0, len(prompt) :].tolist()
        for sample in row:
            assert list(sample.ids) == wanted[: len(sample.ids)]
            assert sample.finished == (2 in wanted)
            assert len(sample.ids) == (wanted.index(2) + 1 if 2 in wanted else 10)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_log_probs_kept_are_those_of_scoring(layout: str) -> None:
    model = metered(layout, pad=0)
    drawn = model.sample(PROMPTS, samples=3, max_tokens=9, generator=generator())
    groups = [Group(p, tuple(s.ids for s in row)) for p, row in zip(PROMPTS, drawn, strict=True)]
    kept = torch.tensor([value for row in drawn for s in row for value in s.logps])
    assert torch.allclose(kept, model.token_logps(groups).values.detach(), atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_the_models_own_distribution(temperature: float) -> None:
    """p^(1/T), renormalised: logits are divided by the temperature before the log-softmax."""
    model = metered(pad=0)
    draws = 4000
    with torch.no_grad():
        expected = (model.logps([Group((1, 7), tuple((token,) for token in range(60)))]) / temperature).softmax(0).numpy()
    drawn = model.sample([(1, 7)], samples=draws, max_tokens=1, temperature=temperature, generator=generator(3))[0]
    counts = torch.bincount(torch.tensor([s.ids[0] for s in drawn]), minlength=60).numpy()
    common = expected * draws >= 5
    observed = np.array([*counts[common], counts[~common].sum()], dtype=float)
    wanted = np.array([*expected[common], expected[~common].sum()], dtype=float)
    assert counts[0] == 0  # the pad token
    assert chisquare(observed, wanted / wanted.sum() * draws).pvalue > 1e-3


def test_the_same_generator_seed_gives_the_same_samples_and_another_does_not() -> None:
    model = metered()
    first = model.sample(PROMPTS, samples=4, max_tokens=8, generator=generator(5))
    assert first == model.sample(PROMPTS, samples=4, max_tokens=8, generator=generator(5))
    assert first != model.sample(PROMPTS, samples=4, max_tokens=8, generator=generator(6))


def test_sampling_is_charged_with_the_prompt_once_for_all_its_samples() -> None:
    model = metered()
    with model.ledger.phase("rollout"):
        row = model.sample([PROMPTS[0]], samples=5, max_tokens=6, generator=generator())[0]
    assert model.ledger.canonical["rollout"] == model.shape.sampling(len(PROMPTS[0]), [len(s.ids) for s in row])
    assert model.ledger.counts["sampled_tokens"] == sum(len(s.ids) for s in row)
