"""Whether disks have room for the policies that a comparison keeps and for what its seeds share, before anything starts. No torch."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import HarnessError
from harness.planning.experiment import Experiment
from harness.store.cache import cache_root
from harness.training.ledger import Shape

SMALL = 5_000_000  # weights below which ``auto`` keeps a policy: 20 MB a cell in float32
BYTES = {"bfloat16": 2}
SHARED = 3  # whole models that a seed may leave in the cache: SFT, a proxy or judge, a tuning judge


def refuse(experiment: Experiment, size: Shape, cells: int, results: Path) -> None:
    """Raise HarnessError where so many cells would keep more than the disks of results and cache have left; sizes are estimates."""
    each = BYTES.get(experiment.dtype, 4)
    whole = (size.blocks + 2 * size.head) * each
    policy = (size.blocks - size.frozen) * 4 if size.frozen else whole
    kept = cells * _policies(experiment, size.blocks + size.head)
    wanted = {results: kept * policy, cache_root(): SHARED * len(experiment.seeds) * whole if cells else 0}
    for folder, amount in wanted.items():
        free = shutil.disk_usage(_existing(folder)).free
        if amount > free:
            what = f"{kept} policies" if folder == results else f"what {len(experiment.seeds)} seeds share"
            advice = "choose --keep none, or another --results" if folder == results else "set HARNESS_CACHE to a larger disk"
            raise HarnessError(f"{what} would take about {amount / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB left; {advice}.")


def _policies(experiment: Experiment, weights: int) -> int:
    """Policies that one cell keeps."""
    found = {"none": 0, "auto": int(weights < SMALL), "all": 1 + len(experiment.marks)}
    return found.get(experiment.keep_policies, 1)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    absolute = folder.absolute()
    return next(each for each in (absolute, *absolute.parents) if each.exists())
