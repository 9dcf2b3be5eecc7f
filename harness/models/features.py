"""What a model makes of a response, as one vector: for heads that are fitted on a model that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.models.forwards import over
from harness.models.packing import Packed
from harness.types import Group

if TYPE_CHECKING:
    from harness.models.metered import Metered


@torch.no_grad()
def mean_states(model: Metered, groups: Sequence[Group]) -> Tensor:
    """The last layer's states averaged over the tokens of each response, EOS among them, (responses, hidden); charges one forward."""

    def read(packed: Packed) -> tuple[Tensor]:
        states = model.body.run(packed, packed.own).float()
        owner = torch.arange(len(packed.lengths), device=states.device).repeat_interleave(packed.lengths)
        sums = states.new_zeros(len(packed.lengths), states.shape[1]).index_add(0, owner, states)
        return (sums / packed.lengths.unsqueeze(1),)

    return over(model, groups, read, model.shape.scalar())[0]
