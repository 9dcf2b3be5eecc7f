"""How workers start: where it is safe as forks of one process that has imported what all of them need, else each anew.

The libraries take five seconds to import (docs/performance.md). The process that they fork from computes nothing, so it has no threads.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path

SILENCED = "harness.execute.silenced"
NEEDED = "harness.running.cell"  # imports what every job needs
ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/accel", "/dev/dxg")  # their libraries may begin on import what no fork survives
# Without the last, what lies in the folder that the user stands in would be imported in place of libraries.
ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}


def context(environment: Mapping[str, str]) -> BaseContext:
    """What makes processes of a pool. Their libraries are imported under ``environment``, which this process does not keep.

    They are looked for where this process looks: another copy of this project may be installed than the one that runs.
    """
    if sys.platform != "linux" or any(Path(device).exists() for device in ACCELERATORS):
        return multiprocessing.get_context("spawn")
    multiprocessing.set_forkserver_preload([SILENCED, NEEDED])
    places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    with _set({**environment, **ALONE, "PYTHONPATH": places}):
        forkserver.ensure_running()
    return multiprocessing.get_context("forkserver")


@contextmanager
def _set(values: Mapping[str, str]) -> Iterator[None]:
    """Until the block ends the environment has these values."""
    before = {name: os.environ.get(name) for name in values}
    os.environ |= values
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
