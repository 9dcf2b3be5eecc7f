"""Golden numbers of the further losses, each derived in its docstring.

The pair of ``test_losses``: c = -10 + 12 = 2, r = -11 + 10 = -1, h = 3; 4 chosen and 2 rejected tokens.
"""

from itertools import permutations
from math import exp, factorial, log, sqrt

import pytest
import torch

from harness import HarnessError
from harness.plugins.cases import draw_case, evaluate, gradients
from harness.training.loss_inputs import paired_tokens
from harness.training.loss_signature import BatchStatistics
from tests.golden.test_losses import LOG_2, column, load, pair

PAIR = (-10.0, -11.0, -12.0, -10.0)


def test_simpo() -> None:
    """Means -10/4 = -2.5 and -11/2 = -5.5, gap 3; beta = log 2 and gamma = 2 log 2 leave log 2: log 1.5, slopes beta/3 over 4 and 2."""
    expected = (log(1.5), -LOG_2 / 12, LOG_2 / 6)
    assert pair("simpo", *PAIR, beta=LOG_2, gamma=2 * LOG_2) == pytest.approx(expected, abs=1e-12)


def test_orpo() -> None:
    """Token probabilities 1/2 over 4 tokens and 1/4 over 2: odds 1 and 1/3, so log 2 - w log sigma(log 3) = log 2 + w log(4/3).

    A log-odds has slope 1/(1 - p) in the mean: 2 and 4/3. With 1 - sigma(log 3) = 1/4: -(1 + w/2)/4 and (w/3)/2.
    """
    weight = 0.5
    expected = (log(2) + weight * log(4 / 3), -(1 + weight / 2) / 4, weight / 6)
    assert pair("orpo", 4 * log(0.5), 2 * log(0.25), 0, 0, weight=weight) == pytest.approx(expected, abs=1e-12)


def test_orpo_of_a_response_that_is_certain_is_finite() -> None:
    """Odds of probability 1 are infinite, and so would the gradient be; float32 rounds to 1 what is nearer than 6e-8."""
    assert all(abs(value) < 100 for value in pair("orpo", 0, -11, 0, 0, weight=1.0))
    assert all(abs(value) < 100 for value in pair("orpo", -10, 0, 0, 0, weight=1.0))


def test_cpo() -> None:
    """log pi(y_w) - log pi(y_l) = 1 and beta = log 2: log 1.5; plus 10/4 of likelihood, whose slope is -1/4."""
    assert pair("cpo", *PAIR, beta=LOG_2) == pytest.approx((log(1.5) + 2.5, -LOG_2 / 3 - 0.25, LOG_2 / 3), abs=1e-12)


def test_hinge() -> None:
    """1 - 0.2 * 3 = 0.4 with slopes of beta; at beta = 0.5 the gap is beyond 1/beta and all is 0."""
    assert pair("hinge", *PAIR, beta=0.2) == pytest.approx((0.4, -0.2, 0.2), abs=1e-12)
    assert pair("hinge", *PAIR, beta=0.5) == (0, 0, 0)


def test_robust_dpo() -> None:
    """beta h = log 2, e = 1/4: [3/4 log(3/2) - 1/4 log 3] / (1/2); slope in beta h: [-(3/4)(1/3) - (1/4)(2/3)] / (1/2) = -5/6.

    Not the conservative DPO of ``dpo.label_smoothing``, whose two terms add.
    """
    beta = LOG_2 / 3
    expected = (1.5 * log(1.5) - 0.5 * log(3), -5 * beta / 6, 5 * beta / 6)
    assert pair("robust_dpo", *PAIR, beta=beta, label_smoothing=0.25) == pytest.approx(expected, abs=1e-12)


def test_robust_dpo_is_dpo_in_the_mean_over_flips() -> None:
    """(1 - e) L(h) + e L(-h) is DPO's loss of the true label, for any e: what makes it unbiased."""
    case = {"chosen": column(-10, -3), "rejected": column(-11, -9), "ref_chosen": column(-12, -5), "ref_rejected": column(-10, -2)}
    flipped = {name: case[other] for name, other in zip(case, ("rejected", "chosen", "ref_rejected", "ref_chosen"), strict=True)}
    for noise in (0.0, 0.1, 0.4):
        true, wrong = (evaluate(load("robust_dpo"), each, {"label_smoothing": noise}) for each in (case, flipped))
        torch.testing.assert_close((1 - noise) * true + noise * wrong, evaluate(load("dpo"), case, {}))


@pytest.mark.parametrize("noise", [-0.1, 0.5, 1.0])
def test_labels_that_are_noise_teach_nothing(noise: float) -> None:
    with pytest.raises(HarnessError, match=rf"robust_dpo.label_smoothing = {noise}: must be at least 0 and below 0.5"):
        pair("robust_dpo", *PAIR, label_smoothing=noise)


def test_apo_zero() -> None:
    """beta = log(2)/2: sigma(beta c) = 2/3 and sigma(beta r) = 1/(1 + sqrt 2); sigma' = sigma (1 - sigma)."""
    beta, low = LOG_2 / 2, 1 / (1 + sqrt(2))
    assert pair("apo_zero", *PAIR, beta=beta) == pytest.approx((1 / 3 + low, -beta * 2 / 9, beta * low * (1 - low)), abs=1e-12)


def test_apo_zero_moves_each_response_by_itself() -> None:
    """The slope in the chosen response does not depend on the rejected one; DPO's does."""
    far = (-10.0, -90.0, -12.0, -10.0)
    assert pair("apo_zero", *PAIR)[1] == pair("apo_zero", *far)[1]
    assert pair("dpo", *PAIR)[1] != pair("dpo", *far)[1]


def test_dpo_norm() -> None:
    """2/4 + 1/2 = 1 and beta = log 2: log 1.5, slopes -beta/3 over 4 and over 2."""
    assert pair("dpo_norm", *PAIR, beta=LOG_2) == pytest.approx((log(1.5), -LOG_2 / 12, LOG_2 / 6), abs=1e-12)


def test_dpo_sft() -> None:
    """DPO's log 1.5 at beta h = log 2 plus twice 10/4 of likelihood, with slope -2/4."""
    beta = LOG_2 / 3
    assert pair("dpo_sft", *PAIR, beta=beta, nll_weight=2.0) == pytest.approx((log(1.5) + 5, -beta / 3 - 0.5, beta / 3), abs=1e-12)


@pytest.mark.parametrize(("name", "settings"), [("dpo_sft", {"nll_weight": 0.0}), ("robust_dpo", {"label_smoothing": 0.0})])
def test_without_its_own_term_it_is_dpo(name: str, settings: dict[str, float]) -> None:
    assert pair(name, *PAIR, beta=0.3, **settings) == pytest.approx(pair("dpo", *PAIR, beta=0.3), abs=1e-15)


def test_a_hinge_saturates_where_dpo_goes_on() -> None:
    """At a gap of 1e4 nats: 0 and flat, in both directions of the sign."""
    case = {"chosen": column(-1, -2e4), "rejected": column(-2e4, -1), "ref_chosen": column(-1e4, -1e4), "ref_rejected": column(-1e4, -1e4)}
    found = gradients(load("hinge"), {name: value.detach() for name, value in case.items()}, {"beta": 0.1})
    assert found["chosen"].tolist() == [0, -0.1]


def test_ld_dpo_weights_what_is_beyond_the_shorter_response() -> None:
    """Three chosen tokens against two rejected: ratios 1, 1 and 2 against -1 and 0. With alpha 1/4: h' = 1 + 1 + 2/4 + 1 = 3.5.

    alpha 1 is DPO's h = 5, alpha 0 reads two tokens of each, 3. At beta h' = log 2 the slope is -beta/3, a quarter of it at the third.
    """
    policy = [column(-1, -1, -1), column(-3, -2)]
    reference = paired_tokens([column(-2, -2, -3), column(-2, -2)])
    for alpha, gap in ((0.25, 3.5), (1.0, 5.0), (0.0, 3.0)):
        beta = LOG_2 / gap
        value = load("ld_dpo").loss(tokens=paired_tokens(policy), ref_tokens=reference, beta=beta, alpha=alpha)
        assert value.item() == pytest.approx(log(1.5), abs=1e-12)
        slopes = torch.autograd.grad(value.sum(), policy)
        assert slopes[0].tolist() == pytest.approx([-beta / 3, -beta / 3, -alpha * beta / 3], abs=1e-12)
        assert slopes[1].tolist() == pytest.approx([beta / 3, beta / 3], abs=1e-12)


def test_odpo() -> None:
    """h = 3, beta = 1 and a margin of 8 ask for log 8: 3 - 3 log 2 with the logarithm; 3 - 2 with identity, margin 4 and scale 1/2."""
    case = dict(zip(("chosen", "rejected", "ref_chosen", "ref_rejected"), map(column, PAIR), strict=True))
    with_log = evaluate(load("odpo"), {**case, "margin": column(8.0)}, {"beta": 1.0})
    plain = evaluate(load("odpo"), {**case, "margin": column(4.0)}, {"beta": 1.0, "scale": 0.5, "offset": "identity"})
    expected = [-torch.tensor(value).sigmoid().log().item() for value in (3 - 3 * LOG_2, 1.0)]
    assert [with_log.item(), plain.item()] == pytest.approx(expected, abs=1e-6)


def test_odpo_without_an_offset_is_dpo_and_a_tie_asks_for_nothing() -> None:
    case = draw_case(0)
    torch.testing.assert_close(evaluate(load("odpo"), case, {"scale": 0.0}), evaluate(load("dpo"), case, {}))
    tied = evaluate(load("odpo"), {**case, "margin": torch.zeros(6, dtype=torch.float64)}, {"beta": 0.1})
    assert 0 <= float(tied.max()) < 1e-4


def statistics(chosen: float, rejected: float, pairs: int) -> BatchStatistics:
    """Of a batch with these mean log-ratios; BCO reads no more."""
    found = (torch.tensor(value, dtype=torch.float64) for value in (chosen, rejected, chosen - rejected, 0.0, 1.0, 1.0))
    return BatchStatistics(*found, pairs)


def test_bco_keeps_the_mean_reward_of_all_pairs_so_far() -> None:
    """beta = 1: 2 pairs with mean ratios 3 and 1 give delta 2; 6 more with -2 and 4, mean 1, give (2 * 2 + 6 * 1) / 8 = 1.25.

    c = 2 and r = -1 cost -log sigma(2 - 2) - log sigma(2 + 1) at first, with slopes -1/2 and 1 - sigma(3).
    """
    loss, state = load("bco"), {}  # type: ignore[var-annotated]
    policy = column(-10.0), column(-11.0)
    named = dict(zip(("chosen", "rejected", "ref_chosen", "ref_rejected"), (*policy, column(-12.0), column(-10.0)), strict=True))
    first = loss.loss(**named, batch=statistics(3, 1, 2), state=state, beta=1.0)
    assert float(state["delta"]) == 2
    assert first.item() == pytest.approx(LOG_2 - log(1 / (1 + exp(-3))), abs=1e-12)
    slopes = torch.autograd.grad(first.sum(), policy)
    assert [each.item() for each in slopes] == pytest.approx([-0.5, 1 / (1 + exp(3))], abs=1e-12)
    second = loss.loss(**named, batch=statistics(-2, 4, 6), state=state, beta=1.0)
    assert float(state["delta"]) == pytest.approx(1.25, abs=1e-12)
    assert second.item() == pytest.approx(-log(1 / (1 + exp(-0.75))) - log(1 / (1 + exp(-2.25))), abs=1e-12)


def test_plackett_luce_of_three() -> None:
    """Rewards log 3, log 2 and 0: odds 3 : 2 : 1, so the ranking has probability 3/6 * 2/3 = 1/3."""
    ranked = column(-1.0, -1.0, -1.0)[None] + torch.tensor([[log(3), log(2), 0.0]], dtype=torch.float64)
    value = load("plackett_luce").loss(ranked, column(-1, -1, -1)[None], beta=1.0)
    assert value.tolist() == pytest.approx([log(3)], abs=1e-12)


def test_plackett_luce_of_pairs_is_dpo() -> None:
    for seed in range(3):
        case = draw_case(seed, spread=30.0, places=2)
        torch.testing.assert_close(evaluate(load("plackett_luce"), case, {"beta": 0.3}), evaluate(load("dpo"), case, {"beta": 0.3}))


@pytest.mark.parametrize("places", [2, 3, 4, 5])
def test_plackett_luce_is_a_distribution_over_orders_that_only_differences_decide(places: int) -> None:
    """exp(-loss) of all K! orders adds up to 1; log K! at the reference; a constant on every reward of a list, and two places of equal
    rewards exchanged, change nothing; of the order by falling rewards the loss is least."""
    generator, loss = torch.Generator().manual_seed(places), load("plackett_luce").loss
    reference = -40 * torch.rand((1, places), dtype=torch.float64, generator=generator)
    ratios = 6 * torch.rand((1, places), dtype=torch.float64, generator=generator) - 3
    orders = [list(order) for order in permutations(range(places))]

    def value(ratios: torch.Tensor, order: list[int]) -> float:
        return loss((reference + ratios)[:, order], reference[:, order], beta=0.7).item()

    values = [value(ratios, order) for order in orders]
    assert sum(exp(-each) for each in values) == pytest.approx(1, abs=1e-12)
    assert value(torch.zeros_like(ratios), orders[-1]) == pytest.approx(log(factorial(places)), abs=1e-12)
    assert [value(ratios + 2.5, order) for order in orders] == pytest.approx(values, abs=1e-12)
    assert orders[min(range(len(orders)), key=values.__getitem__)] == ratios[0].argsort(descending=True).tolist()
    tied = ratios.clone()
    tied[0, 0] = tied[0, -1]
    exchanged = [[{0: places - 1, places - 1: 0}.get(place, place) for place in order] for order in orders]
    assert [value(tied, order) for order in exchanged] == pytest.approx([value(tied, order) for order in orders], abs=1e-12)


def test_distilled_dpo() -> None:
    """Rewards 2 and 0.5 ask for 1.5, beta h = 1.2: (0.3)^2 = 0.09, slopes -+2 beta 0.3 = -+0.24. The other order asks for -1.5."""
    loss, policy = load("distilled_dpo").loss, (column(-10.0), column(-11.0))
    named = dict(zip(("chosen", "rejected", "ref_chosen", "ref_rejected"), (*policy, column(-12.0), column(-10.0)), strict=True))
    rewards = torch.tensor([[2.0, 0.5]], dtype=torch.float64)
    value = loss(**named, reward=rewards, beta=0.4)
    assert value.item() == pytest.approx(0.09, abs=1e-12)
    assert [each.item() for each in torch.autograd.grad(value.sum(), policy)] == pytest.approx([-0.24, 0.24], abs=1e-12)
    assert loss(**named, reward=rewards.flip(1), beta=0.4).item() == pytest.approx(2.7**2, abs=1e-12)
