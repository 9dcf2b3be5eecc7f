"""What a loss returned, refused in one line that names its file where it cannot be trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from harness.errors import HarnessError


def checked(values: Any, rows: int, loss: Callable[..., Any], name: str, *, learns: bool = True) -> Tensor:
    """The values, (rows,); raises HarnessError where they are no tensor, of another shape or, where it ``learns``, without gradient."""
    if not isinstance(values, Tensor):
        raise HarnessError(f"{place(loss)}: algorithm '{name}' must return a tensor, not {type(values).__name__}.")
    if values.shape != (rows,):
        wanted, found = f"({rows},)", tuple(values.shape)
        raise HarnessError(f"{place(loss)}: algorithm '{name}' must return one value per row, shape {wanted}, not {found}.")
    if learns and not values.requires_grad:
        why = "it is constant, or detached from the policy's log-probs"
        raise HarnessError(f"{place(loss)}: algorithm '{name}' returns values that nothing can be learnt from: {why}.")
    return values


def kept(state: dict[str, Tensor], loss: Callable[..., Any], name: str) -> None:
    """Detach what a loss has left in its state; raises HarnessError where that is no tensor, which alone can be kept."""
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise HarnessError(f"{place(loss)}: algorithm '{name}' keeps tensors in its state; {key!r} is of type {type(value).__name__}.")
        state[key] = value.detach()


def place(loss: Callable[..., Any]) -> str:
    """FILE:LINE of a function."""
    code = getattr(loss, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(loss)
