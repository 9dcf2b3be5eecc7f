"""Which kernels multiply float32 on a CPU: torch's own, or oneDNN with explicit attention, where a probe finds it faster and as exact.

torch hands float32 products to MKL, which is slow on processors of some makers. The switch that hands them to oneDNN is called after
bfloat16, and processors with units for it may really compute in it: hence the comparison with float64. With the fused attention the
switch gains nothing, so attention becomes explicit products wherever it is on. The choice is the process's, the same for every model
in it: log-probs of policy and reference must come from the same kernels.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

KERNELS = ("default", "onednn")
EXACT = 1e-5  # largest relative error against float64; float32 products of these sizes are near 3e-7, bfloat16 near 3e-3
WIDEST = 512  # wider products gain what these do
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
    """Whether attention to a tensor like this is computed as explicit products: where oneDNN was switched on for it, and under autocast."""
    return x.device.type == "cpu" and (torch.is_autocast_enabled("cpu") or (in_use() == "onednn" and x.dtype == torch.float32))


def rounded(size: int) -> int:
    """A number of rows to pad to where oneDNN multiplies: a new shape costs it 0.5 ms, so shapes are at most 32 to the octave."""
    if in_use() == "default":
        return size
    step = max(8, 1 << max(0, size.bit_length() - 6))
    return -(-size // step) * step


def probe(width: int) -> Probe:
    """Multiply as a step of a model of this width does, with both kernels in turn, on one thread; some 30 ms at a width of 128.

    Leaves the process as it was.
    """
    if not hasattr(_SWITCH, "fp32_precision") or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return Probe(1.0, 0.0, "this torch has no oneDNN, or no switch for it")
    before, threads = in_use(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _judged(*_measured(min(width, WIDEST)))
    finally:
        torch.set_num_threads(threads)
        use(before)


def _judged(gain: float, error: float) -> Probe:
    if not error <= EXACT:
        return Probe(gain, error, f"relative error {error:.1g} against float64, above {EXACT:g}")
    return Probe(gain, error, None if gain >= GAIN else f"{gain:.2f} times as fast as the default, below {GAIN:g}")


def _measured(width: int) -> tuple[float, float]:
    """Ratio of the best times of default and oneDNN over the products of a linear layer and of attention, and oneDNN's largest error."""
    products = _products(width)
    use("onednn")
    error = max(float((a @ b - exact).norm() / exact.norm()) for a, b in products for exact in (a.double() @ b.double(),))
    best = {(name, index): float("inf") for name in KERNELS for index in range(len(products))}
    for _ in range(6):
        for name in KERNELS:
            use(name)
            for index, (a, b) in enumerate(products):
                started = time.perf_counter()
                torch.matmul(a, b)
                best[name, index] = min(best[name, index], time.perf_counter() - started)
    default, onednn = (sum(seconds for (name, _), seconds in best.items() if name == each) for each in KERNELS)
    return default / onednn, error


def _products(width: int) -> list[tuple[Tensor, Tensor]]:
    """Factors of a linear layer's forward and two gradients over 1536 tokens (fewer where it is wide), and of attention's two products."""
    draw, tokens, size = torch.Generator().manual_seed(0), max(128, 1536 * 128 // max(128, width)), min(64, max(8, width // 4))
    shapes = ((tokens, width), (tokens, width), (width, width), (32, 96, size), (32, 96, 96))
    x, g, w, q, p = (torch.randn(shape, generator=draw) for shape in shapes)
    return [(x, w.t()), (g, w), (g.t(), x), (q, q.transpose(1, 2)), (p, q)]
