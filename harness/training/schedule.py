"""The one learning-rate rule: every algorithm and every phase anneals alike, so that no algorithm wins by its schedule."""

from __future__ import annotations

from collections.abc import Mapping

# What the shared loop trains with where a file says nothing: peak learning rate, clipped gradient norm, weight decay.
OPTIMISER: Mapping[str, float] = {"learning_rate": 1e-3, "clip": 1.0, "weight_decay": 0.0}
WARM_UP = 0.03
FLOOR = 0.1


def schedule(progress: float) -> float:
    """Factor on the peak learning rate at this share of the phase's budget, in (0, 1]: 3 % warm-up, then linear down to 10 %.

    ``progress`` is the share spent after the update that is about to be stepped, so that the first step is not taken at rate 0;
    a share outside [0, 1] (the overshoot that the ledger allows) counts as the nearest end.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < WARM_UP:
        return progress / WARM_UP
    return 1.0 - (1.0 - FLOOR) * (progress - WARM_UP) / (1.0 - WARM_UP)
