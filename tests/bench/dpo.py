"""DPO updates of ours and of TRL's in one process, in turns: speed, and the share of the machine's ceiling that is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import torch

from harness.models.readings import shape_of
from tests.bench import engine, peer, speed, workloads
from tests.bench.records import Finding
from tests.bench.workloads import Workload

# Times as many pairs per second as TRL tuned, and the share of the ceiling, by workload and precision.
GOALS = {("W1", "fp32"): (4.0, 0.45), ("W1", "amp"): (3.5, 0.45), ("W2", "fp32"): (3.0, 0.6), ("W2", "amp"): (3.0, 0.6)}
PEERS = {"fp32": (peer.TUNED_FP32, peer.DEFAULTS_FP32), "amp": (peer.TUNED_AMP, peer.DEFAULTS)}


def compare(workload: Workload, precision: str, peers: Sequence[peer.Configuration], cycles: int) -> dict[str, list[float]]:
    """Seconds per cycle of ours and of each peer, and the ceiling's FLOPs per second, all in turns in this process."""
    workloads.keep_memory(workload)
    rows = workloads.texts(workload, workload.pairs)
    pairs = workloads.token_pairs(rows, workloads.tokenizer(workload))
    theirs = {configuration.name: peer.Steps(workload, rows, configuration) for configuration in peers}
    sides = {"ours": speed.timed(engine.updates(workload, pairs, precision), workload.batches)}
    sides |= {c.name: speed.timed(theirs[c.name], workload.batches, c.matmul) for c in peers}
    try:
        return speed.interleaved(sides | ceilings(precision), cycles)
    finally:
        for steps in theirs.values():
            steps.close()


def ceilings(precision: str) -> dict[str, speed.Cycle]:
    """What a large product reaches in this precision, by each kernel there is."""
    if precision == "amp":
        return {"ceiling, bf16": speed.ceiling(torch.bfloat16)}
    return {"ceiling, BLAS": speed.ceiling(torch.float32, peer.BLAS), "ceiling, oneDNN": speed.ceiling(torch.float32, peer.ONEDNN)}


def best_ceiling(found: dict[str, list[float]]) -> list[float]:
    """The faster kernel's FLOPs per second, by cycle."""
    return max((values for name, values in found.items() if name.startswith("ceiling")), key=median)


def utilisation(workload: Workload, seconds: Sequence[float], ceiling: Sequence[float]) -> speed.Value:
    """Useful FLOPs per second of each cycle over the ceiling measured beside it."""
    pairs = workloads.token_pairs(workloads.texts(workload, workload.pairs), workloads.tokenizer(workload))
    useful = speed.useful_flops(shape_of(workloads.plain_model(workload)), pairs)
    return speed.value([useful / s / c for s, c in zip(seconds, ceiling, strict=True)])


def findings(workload: Workload, precision: str, peers: Sequence[peer.Configuration], found: dict[str, list[float]]) -> Iterator[Finding]:
    """Speed against every peer, utilisation of all, and ours in pairs per second."""
    goal, least = GOALS[workload.name, precision]
    label = f"DPO step, {workload.name}, {precision}"
    for place, configuration in enumerate(peers):
        name = f"{label}: times as many pairs per second"
        yield Finding(name, speed.ratios(found[configuration.name], found["ours"]), "x", str(configuration), None if place else goal)
    for side in ("ours", *(c.name for c in peers)):
        used = utilisation(workload, found[side], best_ceiling(found))
        yield Finding(f"{label}: model-FLOPs utilisation, {side}", used, "", "matmul ceiling of the run", least if side == "ours" else None)
    yield Finding(f"{label}: ours", speed.value([workload.pairs / s for s in found["ours"]]), "pairs/s")
    yield Finding(f"{label}: ceiling", speed.value([c / 1e9 for c in best_ceiling(found)]), "GFLOP/s")
