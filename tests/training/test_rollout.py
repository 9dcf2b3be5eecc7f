"""Golden numbers of the on-policy mathematics; each derivation is in the docstring."""

from __future__ import annotations

import pytest
import torch

from harness.training import rollout


def same(found: torch.Tensor | None, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-12)


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def full(*values: bool) -> torch.Tensor:
    return torch.tensor([values])


def test_masked_mean_and_variance_ignore_padding() -> None:
    """Of 1, 3, 5 (and 99 on padding): mean 3, unbiased variance (4 + 0 + 4) / 2 = 4."""
    values, mask = row(1, 3, 5, 99), full(True, True, True, False)
    assert rollout.masked_mean(values, mask) == 3
    assert rollout.masked_variance(values, mask) == 4


def test_whitening() -> None:
    """(1, 3, 5) with mean 3 and standard deviation 2 becomes (-1, 0, 1), and (2, 3, 4) where the mean stays; padding becomes 0."""
    values, mask = row(1, 3, 5, 99), full(True, True, True, False)
    torch.testing.assert_close(rollout.whiten(values, mask), row(-1, 0, 1, 0), rtol=0, atol=1e-8)
    torch.testing.assert_close(rollout.whiten(values, mask, shift_mean=False), row(2, 3, 4, 0), rtol=0, atol=1e-8)


def test_whitening_one_token_is_finite() -> None:
    assert rollout.whiten(row(7.0), full(True)).tolist() == [[0.0]]


def test_score_lands_on_eos_or_one_step_later() -> None:
    """Lengths 2 and 3 in width 3: the last token is step 1 or 2; one later is 2, and the full response keeps its last step (TRL 1.12)."""
    scores, lengths = torch.tensor([5.0, 7.0]), torch.tensor([2, 3])
    assert rollout.place_scores(scores, lengths, 3).tolist() == [[0, 5, 0], [0, 0, 7]]
    assert rollout.place_scores(scores, lengths, 3, at="after_eos").tolist() == [[0, 0, 5], [0, 0, 7]]


def test_token_rewards() -> None:
    """kl_coef .5, log-ratios (1, -2): penalties (-.5, 1), the score 3 joins the last: (-.5, 4). Their sum is 3 - .5 k1 with k1 = -1."""
    rewards = rollout.token_rewards(row(-1, -4, -9), row(-2, -2, 0), full(True, True, False), torch.tensor([3.0]).double(), kl_coef=0.5)
    same(rewards, row(-0.5, 4, 0))
    assert rewards.sum() == 3 - 0.5 * -1


@pytest.mark.parametrize(
    ("at", "rewards", "advantages"),
    [("eos", (0, 0, 1, 0), (0.82675, 0.765, 0.7, 0)), ("after_eos", (0, 0, 0, 1), (0.799675, 0.7365, 0.67, 0.6))],
)
def test_place_of_the_score_by_hand(at: rollout.Place, rewards: tuple[float, ...], advantages: tuple[float, ...]) -> None:
    """Three tokens, the third EOS, limit 4; score 1, no KL, V = (.1, .2, .3, .4), gamma 1, lambda .95.

    On EOS: delta_3 = 1 - .3 = .7; A_2 = .1 + .95 x .7 = .765; A_1 = .1 + .95 x .765 = .82675.
    After it: A_4 = 1 - .4 = .6; A_3 = (.4 - .3) + .95 x .6 = .67; A_2 = .1 + .95 x .67 = .7365; A_1 = .1 + .95 x .7365 = .799675.
    """
    mask = full(True, True, True, False)
    steps = mask if at == "eos" else full(True, True, True, True)
    zeros, score = row(0, 0, 0, 0), torch.ones(1, dtype=torch.float64)
    found = rollout.token_rewards(zeros, zeros, mask, score, kl_coef=0.5, at=at)
    same(found, row(*rewards))
    same(rollout.generalised_advantages(found, row(0.1, 0.2, 0.3, 0.4), steps), row(*advantages))


def test_a_response_that_fills_the_limit_is_paid_on_its_last_token() -> None:
    mask = full(True, True, True)
    zeros, score = row(0, 0, 0), torch.ones(1, dtype=torch.float64)
    same(rollout.token_rewards(zeros, zeros, mask, score, kl_coef=0.5, at="after_eos"), row(0, 0, 1))


def test_missing_eos_is_subtracted() -> None:
    scores = rollout.penalise_missing_eos(torch.tensor([1.0, 1.0]), torch.tensor([True, False]), 2.0)
    assert scores.tolist() == [1.0, -1.0]


def test_gae_by_hand() -> None:
    """Three steps, r = (0, 0, 1), V = (.5, .4, .2), gamma 1, lambda .5, and a padded step whose value 9 must not be read.

    delta_3 = 1 - .2 = .8; delta_2 = .2 - .4 = -.2; delta_1 = .4 - .5 = -.1;
    A_3 = .8; A_2 = -.2 + .5 x .8 = .2; A_1 = -.1 + .5 x .2 = 0.
    """
    advantages = rollout.generalised_advantages(row(0, 0, 1, 0), row(0.5, 0.4, 0.2, 9), full(True, True, True, False), decay=0.5)
    same(advantages, row(0, 0.2, 0.8, 0))


def test_gae_discounts() -> None:
    """gamma .9, lambda 1, r = (1, 1), V = 0: A_2 = 1, A_1 = 1 + .9."""
    advantages = rollout.generalised_advantages(row(1, 1), row(0, 0), full(True, True), gamma=0.9, decay=1.0)
    same(advantages, row(1.9, 1))


def test_gae_with_lambda_one_is_return_minus_value() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values = (torch.randn(3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.arange(5) < torch.tensor([[5], [3], [1]])
    advantages = rollout.generalised_advantages(rewards * mask, values, mask, decay=1.0)
    returns = (rewards * mask).flip(1).cumsum(1).flip(1)
    same(advantages, (returns - values) * mask)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),  # inside: -A rho, and d/d log pi = -A rho
        (1.5, 2.0, -2.4, 0.0),  # above with A > 0: -2 x 1.2, no gradient left
        (0.5, 2.0, -1.0, -1.0),  # below with A > 0: unclipped, 2 x .5, gradient pulls back
        (1.5, -2.0, 3.0, 3.0),  # above with A < 0: unclipped
        (0.5, -2.0, 1.6, 0.0),  # below with A < 0: 2 x .8, no gradient left
    ],
)
def test_policy_loss_on_both_sides_of_the_clip(ratio: float, advantage: float, loss: float, slope: float) -> None:
    """max(-A rho, -A clip(rho, .8, 1.2)); the numbers are beside the cases."""
    logps = row(ratio).log().requires_grad_()
    value = rollout.policy_loss(logps, row(1.0).log(), row(advantage), clip=0.2)
    value.sum().backward()  # type: ignore[no-untyped-call]
    same(value.detach(), row(loss))
    same(logps.grad, row(slope))


@pytest.mark.parametrize(
    ("value", "target", "loss", "slope"),
    [
        (0.1, 1.0, 0.405, -0.9),  # inside: (.1 - 1)^2 / 2
        (0.5, 1.0, 0.32, 0.0),  # moved towards R by more than .2: (.2 - 1)^2 / 2, no gradient
        (0.5, -1.0, 1.125, 1.5),  # moved away: (.5 + 1)^2 / 2, gradient pulls back
        (-0.5, -1.0, 0.32, 0.0),
        (-0.5, 1.0, 1.125, -1.5),
    ],
)
def test_value_loss_on_both_sides_of_the_clip(value: float, target: float, loss: float, slope: float) -> None:
    """Half of max((V - R)^2, (V_clipped - R)^2) with old value 0 and clip .2; the numbers are beside the cases."""
    values = row(value).requires_grad_()
    result = rollout.value_loss(values, row(0.0), row(target), clip=0.2)
    result.sum().backward()  # type: ignore[no-untyped-call]
    same(result.detach(), row(loss))
    same(values.grad, row(slope))


def test_ratio_statistics() -> None:
    """Ratios 1, 1.5, .5, 1.1 with clip .2: mean 1.025, two of four outside."""
    statistics = rollout.ratio_statistics(row(1, 1.5, 0.5, 1.1).log(), torch.zeros(1, 4), clip=0.2)
    assert statistics.ratio == pytest.approx(1.025)
    assert statistics.clip_fraction == 0.5


def test_explained_variance() -> None:
    """Perfect values explain 1, a constant 0, and values of the wrong sign 1 - Var(2 R) / Var(R) = -3."""
    returns, mask = row(1, 2, 3, 50), full(True, True, True, False)
    assert rollout.explained_variance(returns, returns, mask) == 1
    assert rollout.explained_variance(torch.zeros_like(returns), returns, mask) == 0
    assert rollout.explained_variance(-returns, returns, mask) == pytest.approx(-3)


def test_adapted_coefficient_follows_ziegler() -> None:
    """At twice the target the error is clipped at .2: x (1 + .1 x .2); 10 % below it: x (1 - .1 x .1); on target: unchanged."""
    assert rollout.adapted_coefficient(0.5, 6.0, target=3.0, gain=0.1) == pytest.approx(0.51)
    assert rollout.adapted_coefficient(0.5, 2.7, target=3.0, gain=0.1) == pytest.approx(0.495)
    assert rollout.adapted_coefficient(0.5, 3.0, target=3.0, gain=0.1) == 0.5


def test_minibatches_cover_everything_once() -> None:
    """7 items in 3 runs: bounds 0, 2, 4, 7; two items cannot make three runs."""
    assert [list(part) for part in rollout.minibatches(range(7), 3)] == [[0, 1], [2, 3], [4, 5, 6]]
    assert [list(part) for part in rollout.minibatches([1, 2], 3)] == [[1], [2]]
