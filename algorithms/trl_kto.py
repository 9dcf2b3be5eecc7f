"""KTO by TRL's own ``KTOTrainer``, on the rows, mismatched partners, rates and budget of ``kto``.

The loss is L_KTO of Ethayarajh et al. 2024 (https://arxiv.org/abs/2402.01306) as TRL writes it. TRL's own mismatched rows are a rotation
within batches fixed before training; here each batch has those of ``kto``, drawn anew. It needs the extra ``trl``; see docs/trl.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from harness.foreign import trl
from harness.training.sampled import told
from harness.types import Setup, Update

grid = {"beta": (2.0, 0.5, 0.1)}  # those of kto
family = "offline"
source = "arXiv:2402.01306 eq. 7, by trl.KTOTrainer"
optimum = "none known"
cost = "12 N, then 10 N"
requires = "trl"
needs = ("reference", "single responses")
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "as KTO's"),
    "clip": (0.25, 4.0, "log", "as KTO's"),
}


@dataclass(frozen=True)
class TrlKTO:
    """The hyperparameters that TRL is given, at the defaults of ``kto``."""

    name: ClassVar[str] = "trl_kto"

    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    learning_rate: float = 1e-3
    clip: float = 1.0
    weight_decay: float = 0.0

    def updates(self, setup: Setup) -> Iterator[Update]:
        """An update per optimiser step of TRL's trainer."""
        mine = told(self, setup)
        weights = {"desirable_weight": mine.desirable_weight, "undesirable_weight": mine.undesirable_weight}
        optimiser = {"learning_rate": mine.learning_rate, "clip": mine.clip, "weight_decay": mine.weight_decay}
        return trl.kto(setup, self.name, beta=mine.beta, **weights, **optimiser)


algorithm = TrlKTO
