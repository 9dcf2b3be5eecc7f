"""DPO by TRL's own ``DPOTrainer``, on the batches, rates and budget of ``dpo``: what another implementation makes of the same run.

The loss is TRL's ``sigmoid``, which is equation 7 of Rafailov et al. 2023 (https://arxiv.org/abs/2305.18290) without label smoothing. It
needs the extra ``trl``; docs/trl.md says what is shared and what is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from harness.foreign import trl
from harness.training.sampled import told
from harness.types import Setup, Update

grid = {"beta": (5.0, 0.7, 0.2)}  # those of dpo
family = "offline"
source = "arXiv:2305.18290 eq. 7, by trl.DPOTrainer"
optimum = "reward-tilt"
cost = "8 N, then 6 N"
requires = "trl"
needs = ("reference",)
search = {
    "learning_rate": (2.5e-4, 4e-3, "log", "as DPO's"),
    "clip": (0.25, 4.0, "log", "as DPO's"),
}


@dataclass(frozen=True)
class TrlDPO:
    """The hyperparameters that TRL is given, at the defaults of ``dpo``."""

    name: ClassVar[str] = "trl_dpo"

    beta: float = 0.1
    learning_rate: float = 1e-3
    clip: float = 1.0
    weight_decay: float = 0.0

    def updates(self, setup: Setup) -> Iterator[Update]:
        """An update per optimiser step of TRL's trainer."""
        mine = told(self, setup)
        optimiser = {"learning_rate": mine.learning_rate, "clip": mine.clip, "weight_decay": mine.weight_decay}
        return trl.dpo(setup, self.name, beta=mine.beta, **optimiser)


algorithm = TrlDPO
