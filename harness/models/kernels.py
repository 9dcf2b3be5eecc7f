"""Which kernels multiply float32 on a CPU: torch's own, or oneDNN with explicit attention, where a probe finds it faster and as exact.

torch hands float32 products to MKL, which is slow on processors of some makers. The switch that hands them to oneDNN is called after
bfloat16, and processors with units for it may really compute in it: hence the comparison with float64. With the fused attention the
switch gains nothing, so attention becomes explicit products wherever it is on. The choice is the process's, the same for every model
in it: log-probs of policy and reference must come from the same kernels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

KERNELS = ("default", "onednn")
EXACT = 1e-5  # largest relative error against float64; float32 products of these sizes are near 3e-7, bfloat16 near 3e-3
GAIN = 1.3  # least ratio of times of bare products; at 1.08 SFT of the embedded model took 109 s for 97: explicit attention costs more


_SWITCH: Any = getattr(torch.backends.mkldnn, "matmul", None)


class Probe(NamedTuple):
    """What a trial multiplication found: how often faster oneDNN is, its relative error, and why it is refused, if it is."""

    gain: float
    error: float
    refused: str | None


def use(name: str) -> None:
    """Multiply with these kernels from now on in this process: ``default`` or ``onednn``."""
    if name != in_use():
        _SWITCH.fp32_precision = {"default": "none", "onednn": "bf16"}[name]


def in_use() -> str:
    """The kernels that this process multiplies with."""
    return "onednn" if getattr(_SWITCH, "fp32_precision", None) == "bf16" else "default"


def explicit(x: Tensor) -> bool:
    """Whether attention to a tensor like this is computed as explicit products."""
    return x.device.type == "cpu" and in_use() == "onednn"


def probe() -> Probe:
    """Multiply as a step of a small model does, with both kernels in turn, on one thread; some 20 ms. Leaves the process as it was."""
    if not hasattr(_SWITCH, "fp32_precision") or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return Probe(1.0, 0.0, "this torch has no oneDNN, or no switch for it")
    before, threads = in_use(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _judged(*_measured())
    finally:
        torch.set_num_threads(threads)
        use(before)


def _judged(gain: float, error: float) -> Probe:
    if not error <= EXACT:
        return Probe(gain, error, f"relative error {error:.1g} against float64, above {EXACT:g}")
    return Probe(gain, error, None if gain >= GAIN else f"{gain:.2f} times as fast as the default, below {GAIN:g}")


def _measured() -> tuple[float, float]:
    """Ratio of the best times of default and oneDNN, and oneDNN's largest relative error over a product and a batched one."""
    draw = torch.Generator().manual_seed(0)
    wide, square, batch = (torch.randn(size, generator=draw) for size in ((1024, 128), (128, 352), (64, 96, 32)))
    products: tuple[Callable[[], Tensor], ...] = (lambda: wide @ square, lambda: torch.bmm(batch, batch.transpose(1, 2)))
    exact = (wide.double() @ square.double(), torch.bmm(batch.double(), batch.double().transpose(1, 2)))
    use("onednn")
    error = max(float((product() - true).norm() / true.norm()) for product, true in zip(products, exact, strict=True))
    seconds = {name: float("inf") for name in KERNELS}
    for _ in range(6):
        for name in KERNELS:
            use(name)
            started = time.perf_counter()
            products[0]()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds["default"] / seconds["onednn"], error
