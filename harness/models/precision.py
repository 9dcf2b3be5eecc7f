"""What numbers a model is stored and multiplied in: the dtypes that an experiment may name, and autocast where it asks for ``mixed``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

# float64 is for tests. mixed: float32 weights, products in bfloat16. bfloat16: weights too, with float32 masters in the optimiser.
STORED = {"float32": torch.float32, "mixed": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
MIXED = "harness_mixed_precision"  # in the model's config, so that it travels with copies and saved folders


def store(model: Any, dtype: str, device: torch.device) -> Any:
    """The model on a device in a named dtype."""
    if dtype == "mixed":
        setattr(model.config, MIXED, True)
    return model.to(device, STORED[dtype])


def named(model: Any) -> str:
    """The dtype as an experiment names it."""
    return "mixed" if mixed(model) else str(model.dtype).removeprefix("torch.")


def mixed(model: Any) -> bool:
    """Whether products of this float32 model are computed in bfloat16."""
    return bool(getattr(model.config, MIXED, False))


def of(model: Any) -> AbstractContextManager[Any]:
    """The context that a model's forward is computed in."""
    return torch.autocast(model.device.type, torch.bfloat16) if mixed(model) else nullcontext()


@contextmanager
def unmixed(model: Any) -> Iterator[None]:
    """Until the block ends, products of this model are computed in what its weights are stored in."""
    if not mixed(model):
        yield
        return
    setattr(model.config, MIXED, False)
    try:
        yield
    finally:
        setattr(model.config, MIXED, True)


def wide(dtype: torch.dtype) -> torch.dtype:
    """float32 for half precisions, else the dtype itself: what softmax is computed in."""
    return torch.float32 if dtype.itemsize < 4 else dtype
