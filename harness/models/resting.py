"""A model that is in memory only while something asks it: the reference, where an algorithm reads cached log-probs and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from harness.models.metered import Metered


class Resting(Metered):
    """The Metered that ``load`` gives, loaded when first asked for anything, and again after every ``rest``."""

    def __init__(self, load: Callable[[], Metered]) -> None:
        self._load = load

    def _made(self, model: Any, head: nn.Linear | None) -> Any:
        return Metered(model, eos=self.eos, pad=self.pad, ledger=self.ledger, head=head)

    def __getattr__(self, name: str) -> Any:
        """What the model has of this name; loads it."""
        if name.startswith("__") or name == "_load":
            raise AttributeError(name)
        model = self._load()
        model.model.requires_grad_(False)
        self.__dict__.update(model.__dict__)
        return self.__dict__[name]

    @property
    def awake(self) -> bool:
        """Whether it is in memory now."""
        return "model" in self.__dict__

    def rest(self) -> None:
        """Leave memory until it is asked again; its shape is remembered, for prices need no model."""
        if self.awake:
            load, shape = self._load, self.shape
            self.__dict__.clear()
            self.__dict__.update(_load=load, shape=shape)
