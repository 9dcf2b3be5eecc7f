"""Peak memory of a DPO run against TRL with the same checkpointing, each side in processes of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.bench import dpo, peak, peer, speed, workloads
from tests.bench.records import Finding, publish
from tests.bench.workloads import W1, W2, Workload

REPEATS = 3
GOAL = 0.7

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("ignore"), pytest.mark.skipif(bool(peer.absent()), reason=peer.absent())]


def mebibytes(values: Sequence[float]) -> speed.Value:
    """The median of so many bytes, in MiB."""
    return speed.value([value / 2**20 for value in values])


@pytest.mark.parametrize("precision", ["fp32", "amp"])
@pytest.mark.parametrize("workload", [W1, W2], ids=lambda workload: workload.name)
def test_peak_memory(benchmark: Any, workload: Workload, precision: str) -> None:
    if reason := workloads.missing(workload):
        pytest.skip(reason)
    found = benchmark.pedantic(peak.peaks, (workload.name, precision, dpo.PEERS[precision][0].name, REPEATS))
    ours, theirs = ([row["peak"] for row in found[side]] for side in ("ours", "theirs"))
    label, against = f"peak memory of DPO, {workload.name}, {precision}, no checkpointing", str(dpo.PEERS[precision][0])
    share = Finding(f"{label}: share of the peer's", speed.ratios(ours, theirs), "x", against, GOAL, "below")
    sizes = [Finding(f"{label}: ours", mebibytes(ours), "MiB"), Finding(f"{label}: TRL", mebibytes(theirs), "MiB")]
    above = [[row["peak"] - row["floor"] for row in found[side]] for side in ("ours", "theirs")]
    beyond = Finding(f"{label}: share of the peer's, imports not counted", speed.ratios(*above), "x", against)
    publish(f"memory-{workload.name.lower()}-{precision}", [share, beyond, *sizes], {"processes": found})
