"""Which device a worker computes on, and how it attends there: what the experiment says, once in a process, before any model is loaded."""

from __future__ import annotations

import os

from harness.errors import HarnessError


def use(device: str, attention: str) -> None:
    """Compute on this device (``auto``, ``cpu`` or ``cuda``) with this attention (``auto`` or ``padded``) from now on in this process.

    HarnessError where an accelerator is wanted and torch sees none.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # torch looks when it is first asked for a device
    from harness.models import varlen

    varlen.allow(attention == "auto")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise HarnessError("device 'cuda': torch sees no accelerator here; legal: auto, cpu.")
