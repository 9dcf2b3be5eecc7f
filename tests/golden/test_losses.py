"""Golden numbers of the five losses, each derived in its docstring; where papers and codes disagree the test says whom it follows."""

from math import exp, log
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.plugins import registry
from harness.training.preference import PreferenceLoss

LOG_2 = log(2)


def load(name: str) -> PreferenceLoss:
    algorithm = registry.load("algorithms", name).algorithm
    assert isinstance(algorithm, PreferenceLoss)
    return algorithm


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def pair(name: str, chosen: float, rejected: float, ref_chosen: float, ref_rejected: float, **settings: Any) -> tuple[float, float, float]:
    """Loss of one pair and its gradients in the two policy log-probs; responses of 4 and 2 tokens."""
    loss = load(name)
    policy = column(chosen), column(rejected)
    known = dict(zip(("chosen", "rejected"), policy, strict=True)) | {
        "ref_chosen": column(ref_chosen),
        "ref_rejected": column(ref_rejected),
        "chosen_lengths": column(4),
        "rejected_lengths": column(2),
    }
    value = loss.loss(**{n: known[n] for n in loss.signature.arguments}, **{**loss.hyperparameters, **settings})
    slopes = torch.autograd.grad(value.sum(), policy, allow_unused=True, materialize_grads=True)
    return float(value.detach()), float(slopes[0]), float(slopes[1])


def test_dpo() -> None:
    """c = -10 + 12 = 2, r = -11 + 10 = -1, h = 3; beta = log(2)/3 makes beta h = log 2.

    -log sigma(log 2) = -log(2/3) = log 1.5; slope in h = -beta sigma(-log 2) = -beta/3.
    """
    beta = LOG_2 / 3
    assert pair("dpo", -10, -11, -12, -10, beta=beta) == pytest.approx((log(1.5), -beta / 3, beta / 3), abs=1e-12)


def test_dpo_at_the_reference() -> None:
    """h = 0: log 2 and slopes of beta/2, whatever beta."""
    assert pair("dpo", -7, -9, -7, -9, beta=0.1) == pytest.approx((LOG_2, -0.05, 0.05), abs=1e-12)


def test_cdpo() -> None:
    """beta h = log 2 again, e = 1/4: 3/4 log(3/2) + 1/4 log 3; slope in h = beta (-(3/4)(1/3) + (1/4)(2/3)) = -beta/12.

    The DPO authors' conservative DPO, not TRL's ``robust`` (which divides by 1 - 2 e and has a minus sign).
    """
    beta = LOG_2 / 3
    expected = (0.75 * log(1.5) + 0.25 * log(3), -beta / 12, beta / 12)
    assert pair("dpo", -10, -11, -12, -10, beta=beta, label_smoothing=0.25) == pytest.approx(expected, abs=1e-12)


def test_cdpo_stops_where_the_label_is_as_sure_as_the_smoothing() -> None:
    """Slope 0 at sigma(beta h) = 1 - e: e = 1/3, beta h = log 2."""
    assert pair("dpo", -10, -11, -12, -10, beta=LOG_2 / 3, label_smoothing=1 / 3)[1] == pytest.approx(0, abs=1e-12)


def test_ipo_sum() -> None:
    """h = 3 against a target of 5: (3 - 5)^2 = 4, slope 2 (3 - 5) = -4. Equation 17 as written: token sums; tau = 0.1."""
    assert pair("ipo", -10, -11, -12, -10, target_gap=5.0) == pytest.approx((4, -4, 4), abs=1e-12)


def test_ipo_mean() -> None:
    """c/4 - r/2 = 2/4 + 1/2 = 1 against 5 per token: 16; slopes -8/4 and 8/2: per-token means, as TRL and HALOs."""
    assert pair("ipo", -10, -11, -12, -10, target_gap=5.0, normalize="mean") == pytest.approx((16, -2, 4), abs=1e-12)


def test_ipo_is_at_rest_on_its_target() -> None:
    assert pair("ipo", -10, -11, -12, -10, target_gap=3.0) == pytest.approx((0, 0, 0), abs=1e-12)


def test_dpop_with_a_fallen_chosen_response() -> None:
    """c = -1, r = -6, h = 5, lambda = 2: h - 2 * 1 = 3; beta = log(2)/3: log 1.5.

    The inside has slope 1 + lambda = 3 in c and -1 in r, times -beta/3. With the penalty outside beta or outside the sigmoid
    (version 1 of the paper as often misread) the value would be another.
    """
    beta = LOG_2 / 3
    assert pair("dpop", -13, -16, -12, -10, beta=beta, penalty=2.0) == pytest.approx((log(1.5), -beta, beta / 3), abs=1e-12)


def test_dpop_with_a_risen_chosen_response_is_dpo() -> None:
    assert pair("dpop", -10, -11, -12, -10, beta=0.3, penalty=50.0) == pair("dpo", -10, -11, -12, -10, beta=0.3)


def test_dpop_without_penalty_is_dpo() -> None:
    assert pair("dpop", -13, -16, -12, -10, beta=0.3, penalty=0.0) == pair("dpo", -13, -16, -12, -10, beta=0.3)


@pytest.mark.parametrize("rounding", [0.0, 1e-6, -1e-6, 5e-5])
def test_dpop_starts_on_the_kink_with_subgradient_0(rounding: float) -> None:
    """c = 0 is where training starts, give or take rounding: the slope is DPO's -beta/2 on either side.

    A bare relu would give -(1 + lambda) beta/2 wherever rounding fell below, clamp at c = 0 as well, maximum -(1 + lambda/2) beta/2.
    """
    assert pair("dpop", -12 - rounding, -10, -12, -10, beta=0.3, penalty=50.0) == pytest.approx((LOG_2, -0.15, 0.15), abs=1e-5)


def test_dpop_penalises_every_shortfall_above_rounding_in_full() -> None:
    """c = -0.001, lambda = 50, beta = 1: inside is -0.051; slope in c is -(51) sigma(0.051)."""
    value, slope, _ = pair("dpop", -12.001, -10, -12, -10, beta=1.0, penalty=50.0)
    assert value == pytest.approx(-log(sigmoid(-0.051)), abs=1e-9)
    assert slope == pytest.approx(-51 * sigmoid(0.051), abs=1e-9)


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def kto(z0: float, **settings: Any) -> tuple[Tensor, Tensor]:
    """Losses and slopes of a desirable response with log-ratio 3 and an undesirable one with log-ratio -2."""
    logps = column(-7, -12)
    z = torch.tensor(z0, dtype=torch.float64, requires_grad=True)
    arguments = {"logps": logps, "ref_logps": column(-10, -10), "desirable": torch.tensor([True, False]), "z0": z.detach()}
    values = load("kto").loss(**arguments, **{**load("kto").hyperparameters, **settings})
    return values.detach(), torch.autograd.grad(values.sum(), logps)[0]


def test_kto() -> None:
    """z0 = 1, beta = log(2)/2: desirable 1 - sigma(beta (3 - 1)) = 1 - 2/3 = 1/3; undesirable weight 1.5, 1 - sigma(beta (1 + 2)).

    Slope of the first: -beta sigma (1 - sigma) = -beta 2/9.
    """
    beta = LOG_2 / 2
    values, slopes = kto(1.0, beta=beta, undesirable_weight=1.5)
    assert values.tolist() == pytest.approx([1 / 3, 1.5 * (1 - sigmoid(3 * beta))], abs=1e-12)
    assert float(slopes[0]) == pytest.approx(-beta * 2 / 9, abs=1e-12)
    assert float(slopes[1]) == pytest.approx(1.5 * beta * sigmoid(3 * beta) * (1 - sigmoid(3 * beta)), abs=1e-12)


def test_kto_clamps_a_negative_z0_at_0() -> None:
    """As the paper (z0 = max(0, .)), the authors' code and TRL."""
    beta = LOG_2 / 3
    assert float(kto(-4.0, beta=beta)[0][0]) == pytest.approx(1 / 3, abs=1e-12)


def test_sft_chosen_is_the_negative_log_likelihood_and_reads_nothing_else() -> None:
    assert pair("sft_chosen", -10, -11, -12, -10) == (10, -1, 0)
