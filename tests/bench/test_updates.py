"""DPO updates against TRL's, metrics on, the same pairs and precision, and what a step costs at least."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from tests.bench import dpo, peer, speed, workloads
from tests.bench.records import CYCLES, Finding, publish
from tests.bench.workloads import STEP, W1, W2, Workload

OVERHEAD = 1.5  # milliseconds

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("ignore"), pytest.mark.skipif(bool(peer.absent()), reason=peer.absent())]


@pytest.mark.parametrize("precision", ["fp32", "amp"])
@pytest.mark.parametrize("workload", [W1, W2], ids=lambda workload: workload.name)
def test_dpo(benchmark: Any, workload: Workload, precision: str) -> None:
    if reason := workloads.missing(workload):
        pytest.skip(reason)
    # A pretrained model with its gradients and moments three times over is more than a machine of 24 GiB holds: the tuned peer alone.
    peers = dpo.PEERS[precision][: 1 if workload is W2 else None]
    found = benchmark.pedantic(dpo.compare, (workload, precision, peers, CYCLES))
    raw = {"workload": asdict(workload), "configurations": {c.name: str(c) for c in peers}, "cycles": found}
    publish(f"dpo-{workload.name.lower()}-{precision}", list(dpo.findings(workload, precision, peers, found)), raw)


def test_a_step_costs_little_beside_its_model(benchmark: Any) -> None:
    """A model of 16 hidden units and one short pair: what is left is the loop, its metrics and the optimiser."""
    peers = (peer.tuned("TRL tuned, fp32", bf16=False), peer.DEFAULTS_FP32)
    found = benchmark.pedantic(dpo.compare, (STEP, "fp32", peers, CYCLES))
    label = "step overhead, hidden-16, one pair, metrics on"
    each = {side: speed.value([1000 * s / STEP.batches for s in found[side]]) for side in ("ours", *(c.name for c in peers))}
    ours = Finding(f"{label}: ours", each.pop("ours"), "ms", goal=OVERHEAD, good="below")
    theirs = [Finding(f"{label}: {c.name}", each[c.name], "ms", str(c)) for c in peers]
    publish("step-overhead", [ours, *theirs], {"workload": asdict(STEP), "cycles": found})
