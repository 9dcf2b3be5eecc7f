"""Whether a loss is constant: then its gradient is exactly 0 wherever the policy may be, and not only in one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from harness.errors import HarnessError
from harness.plugins import cases
from harness.training.preference import PreferenceLoss
from harness.training.returned import kept, place
from harness.types import Setting

SEEDS = 4  # lists of every length
SPREADS = (0.1, 5.0, 1000.0)  # nats of log-ratio: near the reference, where policies end, and beyond any margin
PROGRESS = (0.0, 0.5, 1.0)
AGES = (1e3, 1e6)  # factors on what a state has come to, so that a loss that waits for many steps is not taken for one that stays


def refuse(loss: PreferenceLoss, settings: Mapping[str, Setting]) -> None:
    """HarnessError in one line naming file and line where the gradient is 0 in every row of every drawn batch.

    A gradient of 0 in one batch says nothing: a hinge has none where every pair is beyond its margin, and a loss may begin late. So
    batches are drawn near the reference and far from it, at the beginning, the middle and the end of a budget. Of a loss that names
    ``state`` the state goes on from batch to batch, as in a run, and then they are drawn again with numbers in it that are
    larger by ``AGES``. A gradient of NaN is a fault of another kind, but beyond any margin, where it may be 0 times an overflow.
    """
    if not _slopes_somewhere(loss, settings):
        why = "its gradient is 0 in every row of every drawn batch"
        raise HarnessError(f"{place(loss.loss)}: algorithm '{loss.name}' is constant: {why}, so nothing can be learnt from it.")


def _slopes_somewhere(loss: PreferenceLoss, settings: Mapping[str, Setting]) -> bool:
    state: dict[str, Tensor] = {}
    if _slopes(loss, settings, state):
        return True
    try:
        return any(_slopes(loss, settings, {name: (value * age).to(value.dtype) for name, value in state.items()}) for age in AGES if state)
    except Exception:  # of foreign code: what its state cannot be says nothing of it
        return True


def _slopes(loss: PreferenceLoss, settings: Mapping[str, Setting], state: dict[str, Tensor]) -> bool:
    """Whether a drawn batch has a gradient; ``state`` is left as the last batch leaves it."""
    for spread, case in _drawn():
        slopes = cases.gradients(loss, case, settings, state)
        if any(bool(((slope != 0) & ~(slope.isnan() & (spread == SPREADS[-1]))).any()) for slope in slopes.values()):
            return True
        kept(state, loss.loss, loss.name)
    return False


def _drawn() -> Iterator[tuple[float, cases.Case]]:
    """Batches near the reference and far from it, over a budget, each after its spread in nats."""
    for progress in PROGRESS:
        for spread in SPREADS:
            yield from ((spread, {**cases.draw_case(seed, spread=spread), "progress": progress}) for seed in range(SEEDS))
