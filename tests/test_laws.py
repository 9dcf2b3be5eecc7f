"""The laws over everything registered and over two foreign losses, and for every law a loss that it must catch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness import preference_loss
from harness.plugins import cases, laws, registry
from harness.training.preference import PreferenceLoss

PLUGINS = Path(__file__).parent / "plugin"


def losses() -> list[tuple[str, PreferenceLoss, dict[str, Any]]]:
    """(label, loss, settings): every registered loss at its default and at every value of its grid, and the foreign ones."""
    names = [
        *(entry.name for entry in registry.describe("algorithms")),
        *(str(PLUGINS / f"{name}.py") for name in ("wpo", "beta_dpo")),
    ]
    found: list[tuple[str, PreferenceLoss, dict[str, Any]]] = []
    for entry in (registry.find("algorithms", name) for name in names):
        algorithm = registry.load_entry(entry).algorithm
        chosen: list[dict[str, Any]] = [{}, *({knob: value} for knob, values in entry.declaration.grid.items() for value in values)]
        if isinstance(algorithm, PreferenceLoss):
            found += [(f"{entry.name}-{setting}", algorithm, setting) for setting in chosen]
    return found


LOSSES = losses()
EXTRA: list[tuple[str, dict[str, Any]]] = [
    ("cdpo", {"label_smoothing": 0.1}),
    ("ipo-mean", {"normalize": "mean"}),
    ("kto-weights", {"undesirable_weight": 1.5}),
]
LOSSES += [
    (label, next(a for n, a, _ in LOSSES if n.startswith(name)), s)
    for name, (label, s) in zip(("dpo-", "ipo-", "kto-"), EXTRA, strict=True)
]


def test_registry_holds_the_five_losses() -> None:
    assert {loss.name for _, loss, _ in LOSSES} >= {"dpo", "ipo", "dpop", "kto", "sft_chosen"}


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize(("loss", "setting"), [entry[1:] for entry in LOSSES], ids=[entry[0] for entry in LOSSES])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), rows=st.integers(2, 9), spread=st.sampled_from([0.1, 1.0, 5.0, 30.0]))
def test_law(loss: PreferenceLoss, setting: dict[str, Any], law: laws.Law, seed: int, rows: int, spread: float) -> None:
    assert law(loss, cases.draw_case(seed, rows=rows, spread=spread), setting) == ""


@pytest.mark.parametrize(("loss", "setting"), [entry[1:] for entry in LOSSES], ids=[entry[0] for entry in LOSSES])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_finite_far_from_the_reference(loss: PreferenceLoss, setting: dict[str, Any], seed: int) -> None:
    assert laws.one_finite_value_per_row(loss, cases.draw_case(seed, spread=1e4), setting) == ""


def test_dpo_gradient_survives_log_ratios_of_1e4_in_the_wrong_direction() -> None:
    """-d/dc log sigma(beta h) = -beta sigma(-beta h) -> -beta as h -> -inf; log(sigmoid) written out would give nan there."""
    case = cases.draw_case(0) | {"chosen": torch.full((6,), -2e4), "ref_chosen": torch.full((6,), -1e4)}
    loss = next(loss for label, loss, _ in LOSSES if label == "dpo-{}")
    torch.testing.assert_close(cases.gradients(loss, case, {"beta": 0.1})["chosen"], torch.full((6,), -0.1))


@preference_loss
def unstable(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor) -> Tensor:
    return -torch.log(torch.sigmoid((chosen - ref_chosen) - (rejected - ref_rejected)))


@preference_loss
def averaged(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (rejected - chosen).mean()


@preference_loss
def detached(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (rejected - chosen) * (1 + chosen.detach().square())


@preference_loss
def positional(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (rejected - chosen) * torch.arange(1, len(chosen) + 1)


@preference_loss
def centred(chosen: Tensor, rejected: Tensor) -> Tensor:
    return rejected - chosen + 0.1 * (chosen - chosen.mean()).square()


@preference_loss
def levelled(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor) -> Tensor:
    return (rejected - ref_rejected) - (chosen - ref_chosen) - 0.1 * chosen


@preference_loss
def inverted(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor) -> Tensor:
    return (chosen - ref_chosen) - (rejected - ref_rejected)


@preference_loss
def lifting(chosen: Tensor, rejected: Tensor) -> Tensor:
    return -chosen - 0.5 * rejected


@preference_loss
def in_place(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (rejected.detach() - chosen) + 0 * chosen.detach().sub_(1)


@preference_loss
def noisy(chosen: Tensor, rejected: Tensor) -> Tensor:
    return rejected - chosen + torch.rand(len(chosen))


@preference_loss
def topmost(ranked: Tensor, ref_ranked: Tensor) -> Tensor:
    ratios = ranked - ref_ranked
    return (1 + (ratios[:, 1] - ratios[:, 0]).exp()).log()


@preference_loss
def anchored(ranked: Tensor, ref_ranked: Tensor) -> Tensor:
    ratios = ranked - ref_ranked
    return ratios[:, -1] - ratios[:, 0] + 0.1 * ranked[:, 2:].sum(1)


@preference_loss
def unsteady(ranked: Tensor, ref_ranked: Tensor) -> Tensor:
    ratios = ranked - ref_ranked
    return ratios[:, -1] - ratios[:, 0] + (ratios[:, 2:-1] / (1 + ratios[:, 2:-1].detach().abs())).sum(1)


# What lists of two do not show: the law, the loss, and the least length of a list at which it is broken.
LISTED = [
    (laws.first_step_prefers_chosen, topmost, 3),
    (laws.only_ratios_matter, anchored, 3),
    (laws.gradients_are_derivatives, unsteady, 4),
]


@pytest.mark.parametrize(("law", "loss", "least"), LISTED, ids=lambda value: getattr(value, "__name__", None))
def test_a_law_of_lists_reads_every_place(law: laws.Law, loss: PreferenceLoss, least: int) -> None:
    found = [law(loss, cases.draw_case(3, places=places), {}) != "" for places in range(2, cases.LARGEST + 1)]
    assert found == [places >= least for places in range(2, cases.LARGEST + 1)]


def test_drawn_lists_have_every_length() -> None:
    assert {cases.draw_case(seed)["places"] for seed in range(5)} == {2, 3, 4, 5}


BROKEN = [
    (laws.one_finite_value_per_row, averaged, 5.0),
    (laws.one_finite_value_per_row, unstable, 1e4),
    (laws.gradients_are_derivatives, detached, 5.0),
    (laws.order_is_irrelevant, positional, 5.0),
    (laws.rows_are_independent, centred, 5.0),
    (laws.only_ratios_matter, levelled, 5.0),
    (laws.neutral_at_reference, levelled, 5.0),
    (laws.first_step_prefers_chosen, inverted, 5.0),
    (laws.first_step_prefers_chosen, lifting, 5.0),
    (laws.repeatable, noisy, 5.0),
    (laws.repeatable, in_place, 5.0),
]


@pytest.mark.parametrize(("law", "loss", "spread"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_law_catches_a_loss_that_breaks_it(law: laws.Law, loss: PreferenceLoss, spread: float) -> None:
    assert law(loss, cases.draw_case(3, spread=spread), {}) != ""


def test_every_law_has_a_loss_that_it_catches() -> None:
    assert {law for law, _, _ in BROKEN} == set(laws.LAWS)


@preference_loss
def kinked(chosen: Tensor, ref_chosen: Tensor, *, slope: float = 0.0) -> Tensor:
    return (1 - 0.1 * (chosen - ref_chosen)).relu().detach() + slope * (chosen - chosen.detach())


@pytest.mark.parametrize(("slope", "caught"), [(0.0, False), (-0.05, False), (-0.1, False), (0.05, True), (-0.15, True)])
def test_at_a_kink_any_slope_between_both_sides_is_a_derivative(slope: float, caught: bool) -> None:
    """A hinge whose sides have slopes -0.1 and 0, at a log-ratio of exactly 10 nats."""
    case = cases.draw_case(0) | {"chosen": torch.full((6,), -1.0).double(), "ref_chosen": torch.full((6,), -11.0).double()}
    assert bool(laws.gradients_are_derivatives(kinked, case, {"slope": slope})) is caught


def test_violations_are_listed_by_law_and_empty_for_a_sound_loss() -> None:
    listed = laws.violations(inverted)
    assert len(listed) == 1
    assert "first_step_prefers_chosen: the first step does not raise the chosen log-prob" in listed[0]
    assert any("far_from_reference" in line for line in laws.violations(unstable))
    assert laws.violations(LOSSES[0][1]) == []
