"""Which kernels a worker multiplies with: what the experiment says, or what a probe of this machine found, measured once and kept.

Kept, because a probe goes by the clock: two workers, or two days, must not answer differently, or the same seed gives other bytes.
"""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.store.cache import stage

logger = logging.getLogger(__name__)


def choose(asked: str, width: int) -> str:
    """Set this process's kernels (``auto``, ``default`` or ``onednn``) for a model of this width, and name them.

    HarnessError where oneDNN is wanted and inexact.
    """
    import torch

    from harness.models import kernels

    if asked == "default" or (asked == "auto" and torch.cuda.is_available()):
        kernels.use("default")
        return kernels.in_use()
    found = _probed(max(64, 1 << (width - 1).bit_length()))  # narrower ones are all calls
    if asked == "onednn" and not found["error"] <= kernels.EXACT:
        raise HarnessError(f"kernels 'onednn': {found['refused']} on this processor; legal here: auto, default.")
    if asked == "auto" and found["refused"] is not None:
        logger.info("oneDNN is not used: %s", found["refused"])
        asked = "default"
    kernels.use("default" if asked == "default" else "onednn")
    return kernels.in_use()


def _probed(width: int) -> dict[str, Any]:
    """What the probe found of this processor, torch and width: gain, relative error, and why oneDNN is refused, if it is."""
    import torch

    from harness.models import kernels

    def build(folder: Path) -> None:
        (folder / "probe.json").write_text(json.dumps(kernels.probe(width)._asdict()))

    key = {"stage": "kernels", "version": 2, "width": width, "processor": "".join(_processor()), "torch": torch.__version__}
    return json.loads((stage("kernels", key, build) / "probe.json").read_text())  # type: ignore[no-any-return]


def _processor() -> Iterator[str]:
    """What tells one make of processor from another."""
    yield platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        lines = facts.read_text(errors="replace").splitlines()
        yield from sorted({line for line in lines if line.startswith(("model name", "cpu family", "model\t", "flags"))})
