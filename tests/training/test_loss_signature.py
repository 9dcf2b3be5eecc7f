import re

import pytest
from torch import Tensor

from harness import HarnessError, preference_loss
from harness.training.loss_signature import BatchStatistics, read_signature
from harness.training.preference import PreferenceLoss


def test_bare_decorator_declares_by_signature_alone() -> None:
    @preference_loss
    def hinge(chosen: Tensor, rejected: Tensor, *, delta: float = 1.0) -> Tensor:
        return (delta - chosen + rejected).relu()

    assert isinstance(hinge, PreferenceLoss)
    assert hinge.name == "test_loss_signature"
    assert hinge.hyperparameters == {"delta": 1.0}
    assert hinge.signature.policy_sides == (0, 1)
    assert hinge.signature.reference_sides == ()
    assert not hinge.signature.unpaired
    assert hinge.optimiser == {"learning_rate": 1e-3, "clip": 1.0, "weight_decay": 0.0}


def test_metadata_is_kept() -> None:
    @preference_loss(family="offline", control=True, knob="beta", positive=("beta",), conventions={"reduction": "sum"})
    def loss(rejected: Tensor, ref_rejected: Tensor, *, beta: float = 0.1) -> Tensor:
        return beta * (rejected - ref_rejected)

    assert (loss.control, loss.knob, loss.conventions) == (True, "beta", {"reduction": "sum"})
    assert loss.signature.policy_sides == loss.signature.reference_sides == (1,)


def test_settings_of_others_are_ignored_and_own_ones_override() -> None:
    @preference_loss
    def loss(chosen: Tensor, *, beta: float = 0.1) -> Tensor:
        return -beta * chosen

    assert loss.resolve({"beta": 0.5, "clip": 3, "kl_coef": 1}) == (
        {"beta": 0.5},
        {"learning_rate": 1e-3, "clip": 3.0, "weight_decay": 0.0},
    )


def unknown(chosen: Tensor, rejcted: Tensor) -> Tensor:
    return chosen - rejcted


def two_kinds(chosen: Tensor, ranked: Tensor) -> Tensor:
    return chosen * ranked[:, 0]


def mixed(chosen: Tensor, logps: Tensor, desirable: Tensor) -> Tensor:
    return chosen


def half_unpaired(logps: Tensor, z0: Tensor) -> Tensor:
    return logps


def nothing(progress: float) -> Tensor:
    raise AssertionError


def half_batch(chosen: Tensor, batch: BatchStatistics) -> Tensor:
    return chosen


def no_default(chosen: Tensor, *, beta: float) -> Tensor:
    return beta * chosen


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (unknown, "loss 'mine': unknown argument 'rejcted'. Did you mean 'rejected'? Available: chosen, rejected, ref_chosen"),
        (two_kinds, "loss 'mine': 'chosen' is per pair and 'ranked' per list; a loss takes one or the other."),
        (mixed, "loss 'mine': 'chosen' is per pair and 'logps' per response; a loss takes one or the other."),
        (half_unpaired, "loss 'mine': an unpaired loss names 'logps' and 'desirable'."),
        (
            nothing,
            "loss 'mine': a loss names 'chosen', 'rejected' or 'tokens' (pairs), 'logps' and 'desirable' (unpaired)",
        ),
        (half_batch, "loss 'mine': 'batch' holds statistics of both responses, so 'chosen' and 'rejected' must be named."),
        (no_default, "loss 'mine': hyperparameter 'beta' needs a default that is a number, a string or a bool."),
    ],
)
def test_a_signature_outside_the_closed_set_is_an_error_at_load(loss: object, message: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(message)):
        read_signature(loss, "mine")  # type: ignore[arg-type]


def test_unknown_metadata_names_the_near_one() -> None:
    with pytest.raises(HarnessError, match=re.escape("unknown metadata 'famly'. Did you mean 'family'?")):

        @preference_loss(famly="offline")
        def loss(chosen: Tensor) -> Tensor:
            return -chosen


def test_a_knob_must_be_a_hyperparameter() -> None:
    with pytest.raises(HarnessError, match=re.escape("'bta' is not one of its hyperparameters. Did you mean 'beta'?")):

        @preference_loss(knob="bta")
        def loss(chosen: Tensor, *, beta: float = 0.1) -> Tensor:
            return -beta * chosen


def test_an_unknown_optimiser_setting_is_an_error() -> None:
    namespace: dict[str, object] = {"optimiser": {"learning_rat": 1.0}, "__name__": "mine"}
    source = "from harness import preference_loss\n@preference_loss\ndef algorithm(chosen):\n    return -chosen\n"
    exec(compile(source, "mine.py", "exec"), namespace)
    algorithm = namespace["algorithm"]
    assert isinstance(algorithm, PreferenceLoss)
    assert algorithm.name == "mine"
    message = "algorithm 'mine': unknown optimiser setting 'learning_rat'. Did you mean 'learning_rate'?"
    with pytest.raises(HarnessError, match=re.escape(message)):
        _ = algorithm.optimiser
