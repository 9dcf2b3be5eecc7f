"""Turns a pure loss into an algorithm: ``@preference_loss`` on a function whose signature says what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, overload

from torch import Tensor

from harness.errors import HarnessError, near
from harness.training.loss_signature import LossSignature, read_signature
from harness.training.returned import place
from harness.training.schedule import OPTIMISER
from harness.types import Setting, Setup, TokenPair, Update

Loss = TypeVar("Loss", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class PreferenceLoss:
    """A loss per pair (or per response) with what it declares; an Algorithm through the one offline loop.

    ``knob`` is the hyperparameter that moves it along KL. Traits exempt it from a law it cannot obey, and are shown in tables:
    ``uses_batch_statistics`` (a value depends on the rest of the batch), ``has_nll`` (a likelihood term beside the ratios, so the
    level of log-probs matters), ``raises_chosen`` False, ``stops_gradient`` (a detached factor, so autograd is not the derivative).
    ``init`` is what its paper starts from: ``sft``, or ``base``, the model before SFT. ``positive`` names hyperparameters that must be
    above 0. ``conventions`` are recorded with every run, e.g. ``reduction``.
    """

    name: str
    loss: Callable[..., Tensor]
    signature: LossSignature
    family: str = "offline"
    source: str = ""
    control: bool = False
    knob: str = ""
    uses_batch_statistics: bool = False
    has_nll: bool = False
    raises_chosen: bool = True
    stops_gradient: bool = False
    positive: tuple[str, ...] = ()
    conventions: Mapping[str, str] = field(default_factory=dict)
    init: str = "sft"

    @property
    def hyperparameters(self) -> Mapping[str, Setting]:
        """Keyword-only arguments of the loss with their defaults."""
        return self.signature.hyperparameters

    @property
    def optimiser(self) -> Mapping[str, float]:
        """Peak learning rate, clip norm and weight decay: the file's literal ``optimiser`` over the common defaults."""
        declared: Mapping[str, float] = getattr(self.loss, "__globals__", {}).get("optimiser", {})
        for key in declared:
            if key not in OPTIMISER:
                said = f"unknown optimiser setting '{key}'.{near(key, list(OPTIMISER))}"
                raise HarnessError(f"{place(self.loss)}: algorithm '{self.name}': {said}")
        return {**OPTIMISER, **declared}

    def resolve(self, settings: Mapping[str, Any]) -> tuple[dict[str, Setting], dict[str, float]]:
        """Hyperparameters and optimiser settings of a run; raises HarnessError where one declared positive is not."""
        hyperparameters = {key: settings.get(key, default) for key, default in self.hyperparameters.items()}
        optimiser = {key: float(settings.get(key, default)) for key, default in self.optimiser.items()}
        for key in self.positive:
            value = hyperparameters[key]
            if not isinstance(value, (int, float)) or not value > 0:
                raise HarnessError(f"{self.name}.{key} = {value}: must be above 0.")
        return hyperparameters, optimiser

    @property
    def single(self) -> PreferenceLoss | None:
        """This algorithm where responses were labelled one by one: the loss per response that its file binds to ``single``, if it does.

        That is what its loss of a pair is the sum of two of.
        """
        single = getattr(self.loss, "__globals__", {}).get("single")
        return (
            None if self.signature.unpaired or single is None else replace(self, loss=single, signature=read_signature(single, self.name))
        )

    def over(self, pairs: Sequence[TokenPair]) -> PreferenceLoss:
        """This algorithm for such data: as its ``single`` is where they are single labelled responses and it has one."""
        single = self.single
        return single if single is not None and pairs[0].single else self  # without one no pair is read: some are drawn as they are

    def updates(self, setup: Setup) -> Iterator[Update]:
        """Optimiser steps until the budget is spent; see harness/training/offline.py."""
        from harness.training.offline import offline_updates

        return offline_updates(self, setup)


@overload
def preference_loss(loss: Loss, /) -> PreferenceLoss: ...


@overload
def preference_loss(**metadata: Any) -> Callable[[Callable[..., Tensor]], PreferenceLoss]: ...


def preference_loss(loss: Callable[..., Tensor] | None = None, /, **metadata: Any) -> Any:
    """The algorithm that trains on this loss: ``@preference_loss`` bare, or with literal metadata (the fields of PreferenceLoss).

    The name is the stem of the file the function stands in. Raises HarnessError at load for names outside the closed set.
    """
    return _declare(loss, {}) if loss is not None else lambda function: _declare(function, metadata)


def _declare(loss: Callable[..., Tensor], metadata: Mapping[str, Any]) -> PreferenceLoss:
    name = Path(loss.__code__.co_filename).stem
    try:
        return _declared(loss, name, metadata)
    except HarnessError as error:
        raise HarnessError(f"{place(loss)}: {error}") from error


def _declared(loss: Callable[..., Tensor], name: str, metadata: Mapping[str, Any]) -> PreferenceLoss:
    legal = [key for key in PreferenceLoss.__dataclass_fields__ if key not in ("name", "loss", "signature")]
    for key in metadata:
        if key not in legal:
            raise HarnessError(f"loss '{name}': unknown metadata '{key}'.{near(key, legal)} Legal: {', '.join(legal)}.")
    signature = read_signature(loss, name)
    for key in (*metadata.get("positive", ()), *filter(None, [metadata.get("knob")])):
        if key not in signature.hyperparameters:
            raise HarnessError(f"loss '{name}': '{key}' is not one of its hyperparameters.{near(key, list(signature.hyperparameters))}")
    return PreferenceLoss(name, loss, signature, **metadata)
