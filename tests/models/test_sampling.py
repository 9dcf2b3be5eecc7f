"""The sampler equals transformers' generate under greedy decoding, keeps true log-probs, and draws from the distribution it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from harness.models import bodies, decoding, layers, memory, threads
from harness.models.head import MASKED_LOGIT
from harness.models.sampling import chunks, draw
from harness.types import Group, Sample
from tests.models.toys import LAYOUTS, metered, plain_model

PROMPTS = [(1, 7, 9, 11), (1, 3), (1, 20, 21, 22, 23, 24)]
MANY = [tuple([1, *range(3 + i, 6 + i + i % 5)]) for i in range(16)]


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


def test_the_second_token_follows_the_model_given_the_first() -> None:
    """Sum over a of p(a) p(b | a) by enumeration: the cache behind a shared prompt is each sample's own, and ended rows draw nothing."""
    model, draws, first = metered(pad=0), 4000, tuple((token,) for token in range(60))
    with torch.no_grad():
        one = model.logps([Group((1, 7), first)]).exp()
        two = torch.stack([model.logps([Group((1, 7, token), first)]).exp() for token in range(60)])
    wanted = torch.cat([one[:2], one[3:]]) @ torch.cat([two[:2], two[3:]])  # after EOS, 2, there is no second token
    drawn = model.sample([(1, 7)], samples=draws, max_tokens=2, generator=generator(4))[0]
    counts = torch.bincount(torch.tensor([s.ids[1] for s in drawn if len(s.ids) > 1]), minlength=60).numpy()
    expected = np.array([*(wanted.numpy() * draws), float(one[2]) * draws])
    observed = np.array([*counts, draws - counts.sum()], dtype=float)
    common = expected >= 5
    observed, expected = (np.array([*x[common], x[~common].sum()]) for x in (observed, expected))
    assert chisquare(observed, expected / expected.sum() * observed.sum()).pvalue > 1e-3


def drawn_by(layout: str, samples: int = 3) -> list[list[Sample]]:
    return metered(layout, pad=0).sample(MANY, samples=samples, max_tokens=60, generator=generator(7))


def same(left: list[list[Sample]], right: list[list[Sample]]) -> bool:
    rows = [(a, b) for first, second in zip(left, right, strict=True) for a, b in zip(first, second, strict=True)]
    return all(a.ids == b.ids and np.allclose(a.logps, b.logps, atol=1e-4) for a, b in rows)


@pytest.mark.parametrize("samples", [1, 3])
def test_an_answer_depends_neither_on_chunks_nor_on_rows_that_were_dropped(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "SHRUNK", 0.0)
    together = drawn_by("llama", samples)
    assert len({len(s.ids) for row in together for s in row}) > 3  # rows end at different steps, so something can be dropped
    monkeypatch.setattr(decoding, "SHRUNK", 1.0)
    assert same(together, drawn_by("llama", samples))
    monkeypatch.setattr(memory, "SAMPLING_BYTES", 1)
    assert same(together, drawn_by("llama", samples))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_prompts_read_a_few_at_a_time_are_those_read_together(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = metered(layout, dtype=torch.float64)
    together = model.read(MANY, 8)
    monkeypatch.setattr(bodies, "PART", 12)
    assert [piece.stop - piece.start for piece in bodies.parts([5, 7, 1, 20, 3], 12)] == [2, 1, 1, 1]
    torch.use_deterministic_algorithms(True)  # memory that nobody has written to is NaN
    try:
        found = model.read(MANY, 8)
    finally:
        torch.use_deterministic_algorithms(False)
    assert together is not None and found is not None
    assert torch.allclose(found.last, together.last, atol=1e-5 if layout in ("llama", "qwen2") else 1e-10)
    for first, second in zip(found.cache, together.cache, strict=True):
        for one, other in zip(first, second, strict=True):
            assert one.is_contiguous() and one.shape == other.shape and bool(one.isfinite().all())
            for row, length in enumerate(found.lengths.tolist()):
                assert torch.allclose(one[row, :, :length], other[row, :, :length], atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("samples", [1, 3])
def test_an_answer_does_not_depend_on_the_number_of_threads(layout: str, samples: int) -> None:
    alone = drawn_by(layout, samples)
    for number in (2, 3):
        with threads.using(number):
            assert same(alone, drawn_by(layout, samples))


def test_prompts_are_cut_into_as_many_chunks_as_threads_share_the_memory() -> None:
    def fitting(longest: int) -> int:
        return 10

    sizes = {beside: [len(chunk) for chunk in chunks(MANY, fitting, beside)] for beside in (1, 2, 4)}
    assert sizes == {1: [10, 6], 2: [5, 5, 5, 1], 4: [2] * 8}
    assert [len(chunk) for chunk in chunks(MANY, lambda longest: 100, 3)] == [6, 6, 4]
    assert sorted(place for chunk in chunks(MANY, fitting, 2) for place in chunk) == list(range(len(MANY)))


def test_dropping_leaves_fewer_rows_to_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    say = layers.Llama.normed
    monkeypatch.setattr(layers.Llama, "normed", lambda self, x: (rows.append(len(x)), say(self, x))[1])
    longest = max(len(row[0].ids) for row in drawn_by("llama", 1))
    steps = rows[1:]  # the first is the check of a model that is loaded
    assert len(steps) == longest  # the prompts, and every token but the last
    assert steps[-1] <= len(MANY) // 2 < steps[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_models_of_another_layout_are_sampled_through_transformers_and_say_so_once(
    layout: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fast = drawn_by(layout)
    monkeypatch.setattr(layers, "KNOWN", {})
    layers._unknown.cache_clear()
    assert same(fast, drawn_by(layout))
    assert same(fast, drawn_by(layout))
    assert len(caplog.messages) == 1
    layers._unknown.cache_clear()


def test_layers_with_a_window_are_left_to_transformers() -> None:
    model = metered("qwen2").model
    assert layers.layers_of(model) is not None
    model.config.layer_types = ["full_attention", "sliding_attention"]
    assert layers.layers_of(model) is None


def test_a_draw_is_the_inverse_of_the_distribution_function() -> None:
    """Of probabilities 0, .2, .3, .5 (and a masked token at each end): the token whose part of [0, 1) holds the number."""
    logits = torch.tensor([MASKED_LOGIT, 0.2, 0.3, 0.5, MASKED_LOGIT])
    logits[1:4] = logits[1:4].log()
    numbers = torch.tensor([0.0, 0.19, 0.21, 0.49, 0.51, 1 - 2**-53], dtype=torch.float64)
    token, logp = draw(logits.expand(6, 5), 1.0, numbers)
    assert token.tolist() == [1, 1, 2, 2, 3, 3]
    assert logp.exp().tolist() == pytest.approx([0.2, 0.2, 0.3, 0.3, 0.5, 0.5])
    with pytest.raises(FloatingPointError):
        draw(torch.tensor([[0.0, float("nan")]]), 1.0, numbers[:1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_is_counted_by_the_heads_that_have_keys_and_by_the_bytes_of_a_number(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row holds its keys and values, as the sampler keeps them, and 16 bytes a logit."""
    model = metered(layout)
    past = model.read([(3, 4, 5, 6)], 8)
    assert past is not None
    token = sum(keys.nbytes + values.nbytes for keys, values in past.cache) / 4
    row = (10 + 2 * 8) * token + 2 * 16 * model.model.config.vocab_size
    monkeypatch.setattr(memory, "SAMPLING_BYTES", 7.5 * row)
    assert memory.sampling_rows(model.model, prompt=10, samples=2, max_tokens=8) == 7


def test_an_accelerator_gives_a_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**10, 10**11))
    assert memory._sampling_bytes(torch.device("cuda")) == 3 * 10**9
