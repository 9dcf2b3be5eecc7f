"""The closed set of names carries other people's losses: WPO and beta-DPO as plug-ins, against their papers' formulas by hand."""

from math import exp, log
from pathlib import Path

import pytest
import torch

from harness.plugins import registry
from harness.plugins.cases import draw_case, evaluate
from harness.training.preference import PreferenceLoss

PLUGINS = Path(__file__).parents[1] / "plugin"


def load(name: str) -> PreferenceLoss:
    algorithm = registry.load("algorithms", str(PLUGINS / f"{name}.py")).algorithm
    assert isinstance(algorithm, PreferenceLoss)
    return algorithm


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_wpo() -> None:
    """The weight is e^(-8/4) e^(-6/2) = e^-5 times DPO's log 2 at the reference, and it carries no gradient: -e^-5 beta/2."""
    chosen = column(-8).requires_grad_()
    case = {"chosen": chosen, "rejected": column(-6), "ref_chosen": column(-8), "ref_rejected": column(-6)}
    value = evaluate(load("wpo"), {**case, "chosen_lengths": column(4), "rejected_lengths": column(2)}, {"beta": 0.1})
    assert float(value.detach()) == pytest.approx(exp(-5) * log(2), abs=1e-12)
    assert float(torch.autograd.grad(value.sum(), chosen)[0]) == pytest.approx(-exp(-5) * 0.05, abs=1e-12)


def test_beta_dpo_follows_the_batch_and_keeps_its_average() -> None:
    """First step: M0 = M, so beta stays. Second: average m, gap g gives beta (1 + 0.6 (beta g - m)), and m moves a tenth towards beta g."""
    loss, case = load("beta_dpo"), draw_case(0)
    dpo = registry.load("algorithms", "dpo").algorithm
    state: dict[str, torch.Tensor] = {}
    named = {name: case[name] for name in loss.signature.arguments} | {"state": state}
    first = loss.loss(**named, **{**loss.hyperparameters, "beta": 0.1})
    torch.testing.assert_close(first, evaluate(dpo, case, {"beta": 0.1}))
    gap = 0.1 * float(case["batch"].gap)
    assert float(state["average"]) == pytest.approx(gap)
    state["average"] = column(gap - 0.5)[0]
    second = loss.loss(**named, **{**loss.hyperparameters, "beta": 0.1})
    torch.testing.assert_close(second, evaluate(dpo, case, {"beta": 0.1 * 1.3}))
    assert float(state["average"]) == pytest.approx(gap - 0.45)
