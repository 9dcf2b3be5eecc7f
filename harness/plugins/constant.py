"""Whether a loss is constant: then its gradient is exactly 0 wherever the policy may be, and not only in one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle, islice

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
STEPS = 10_000  # of a state that cannot be aged, such as a place in a table


def refuse(loss: PreferenceLoss, settings: Mapping[str, Setting]) -> None:
    """HarnessError in one line naming file and line where the gradient is 0 in every row of every drawn batch.

    A gradient of 0 in one batch says nothing: a hinge has none where every pair is beyond its margin, and a loss may begin late. So
    batches are drawn near the reference and far from it, at the beginning, the middle and the end of a budget. Of a loss that names
    ``state`` the state goes on from batch to batch, as in a run, and then they are drawn again with numbers in it that are larger by
    ``AGES``. Where the loss raises at such numbers, as one that looks up a table does beyond its end, the state goes on for ``STEPS``
    batches more, or to where the loss can go no further. A gradient of NaN is a fault of another kind, but beyond any margin, where it
    may be 0 times an overflow.
    """
    if not _slopes_somewhere(loss, settings):
        why = "its gradient is 0 in every row of every drawn batch"
        raise HarnessError(f"{place(loss.loss)}: algorithm '{loss.name}' is constant: {why}, so nothing can be learnt from it.")


def _slopes_somewhere(loss: PreferenceLoss, settings: Mapping[str, Setting]) -> bool:
    state: dict[str, Tensor] = {}
    found = _slopes(loss, settings, state, _drawn())
    if found is not False or not state:
        return bool(found)
    older = [_slopes(loss, settings, {name: (value * age).to(value.dtype) for name, value in state.items()}, _drawn()) for age in AGES]
    if None in older and True not in older:
        return bool(_slopes(loss, settings, state, islice(cycle(_drawn()), STEPS)))
    return True in older


def _slopes(
    loss: PreferenceLoss, settings: Mapping[str, Setting], state: dict[str, Tensor], drawn: Iterator[tuple[float, cases.Case]]
) -> bool | None:
    """Whether one of these batches has a gradient; None where the loss raises before one has, because of what its state has become.

    A loss that raises whatever its state is not called constant: other batches may have a gradient. ``state`` is left as the last batch
    leaves it.
    """
    for spread, case in drawn:
        try:
            slopes = cases.gradients(loss, case, settings, state)
        except Exception:  # of foreign code
            return None if _takes(loss, case, settings) else True
        if any(bool(((slope != 0) & ~(slope.isnan() & (spread == SPREADS[-1]))).any()) for slope in slopes.values()):
            return True
        kept(state, loss.loss, loss.name)
    return False


def _takes(loss: PreferenceLoss, case: cases.Case, settings: Mapping[str, Setting]) -> bool:
    """Whether the loss takes the batch with an empty state."""
    try:
        cases.evaluate(loss, case, settings, {})
    except Exception:  # of foreign code
        return False
    return True


def _drawn() -> Iterator[tuple[float, cases.Case]]:
    """Batches near the reference and far from it, over a budget, each after its spread in nats."""
    for progress in PROGRESS:
        for spread in SPREADS:
            yield from ((spread, {**cases.draw_case(seed, spread=spread), "progress": progress}) for seed in range(SEEDS))
