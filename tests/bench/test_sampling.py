"""Sampling against transformers' ``generate`` with its best cache, same dtype; equal token for token under greedy decoding."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from tests.bench import peer, sampling, speed, workloads
from tests.bench.records import CYCLES, Finding, publish
from tests.bench.workloads import W1, W2, Workload

GOALS = {"W1": 2.0, "W2": 1.5}

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("workload", [W1, W2], ids=lambda workload: workload.name)
def test_sampling(benchmark: Any, workload: Workload, precision: str) -> None:
    if reason := workloads.missing(workload):
        pytest.skip(reason)
    contest = sampling.Contest(workload, precision)
    if precision == "fp32":
        assert contest.same_tokens(peer.DECODINGS[0])
    found = benchmark.pedantic(contest.rates, (peer.DECODINGS, CYCLES))
    label, rival = f"sampling, {workload.name}, {precision}", sampling.best(found)
    times, goal = speed.ratios(found["ours"], found[rival]), GOALS[workload.name]
    ratio = Finding(f"{label}: times as many tokens per second", times, "x", f"transformers, {rival}", goal)
    ours, theirs = (speed.value(found[side]) for side in ("ours", rival))
    rates = [Finding(f"{label}: ours", ours, "tokens/s"), Finding(f"{label}: transformers", theirs, "tokens/s")]
    publish(f"sampling-{workload.name.lower()}-{precision}", [ratio, *rates], {"workload": asdict(workload), "tokens_per_second": found})
