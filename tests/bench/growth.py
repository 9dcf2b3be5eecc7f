"""How cost grows with one factor at a time: seconds of a DPO update and of sampling, and peak memory, from short prompts to 135M weights.

``HARNESS_BENCH_RECORD=docs/performance python -m tests.bench.growth`` measures every point in a process of its own, in random order,
so that what else the machine does meanwhile falls on all factors alike.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np
from scipy import stats

from tests.bench import peak, records
from tests.bench.records import Finding
from tests.bench.speed import Value, clock
from tests.bench.workloads import Size, Workload

BASE: Mapping[str, int] = {"prompt": 128, "response": 32, "vocabulary": 1000, "batch": 8, "weights": 1}
SIZES = ((128, 336, 2, 4), (128, 384, 6, 4), (256, 680, 6, 4), (512, 1360, 6, 8), (768, 2048, 8, 12), (1024, 2728, 11, 16))
RANGES: Mapping[str, Sequence[int]] = {
    "prompt": (64, 128, 256, 512, 1024, 2048),
    "response": (16, 32, 64, 128, 256, 512),
    "vocabulary": (1000, 5000, 16000, 50000, 150000),
    "batch": (2, 4, 8, 16, 32, 64, 128),
    "weights": tuple(range(len(SIZES))),
}
UNITS = {"prompt": "tokens", "response": "tokens", "vocabulary": "words", "batch": "pairs", "weights": "weights of the blocks"}
COSTS = {"update": "seconds of an update", "sampling": "seconds to sample a response to every prompt", "memory": "bytes above the imports"}
STEPS, PATIENCE = 5, 20.0  # timed steps of a point at most, and seconds after which no further one begins
LEAST = 3  # points that a line is fitted to


def weights(size: Sequence[int]) -> int:
    """Matmul weights of the blocks: four square matrices of attention and three of the gated feed-forward per layer."""
    hidden, feed_forward, layers, _ = size
    return layers * (4 * hidden**2 + 3 * hidden * feed_forward)


def workload(factors: Mapping[str, int]) -> Workload:
    """Pairs of exactly these lengths; ``weights`` is a place in ``SIZES``."""
    size = Size(*SIZES[factors["weights"]], factors["vocabulary"])
    prompt, response = factors["prompt"] - 1, factors["response"] - 1  # words, beside the opening token and EOS
    lengths = {"prompt": (prompt, prompt), "response": (response, response), "new_tokens": factors["response"]}
    return Workload("growth", size, batch=factors["batch"], batches=1, prompts=factors["batch"], **lengths)


def point(factors: Mapping[str, int], steps: int = STEPS) -> dict[str, Any]:
    """Median seconds of an update and of sampling, bytes of memory above what the imports hold, and how many steps were timed."""
    from harness.running.facts import peak_memory
    from tests.bench import engine, workloads

    chosen = workload(factors)
    pairs = workloads.token_pairs(workloads.texts(chosen, chosen.pairs), workloads.tokenizer(chosen))
    floor = peak_memory()
    updates = engine.updates(chosen, pairs, "fp32")
    seconds = _seconds(lambda: next(updates), steps)
    memory = peak_memory() - floor
    model = engine.policy(chosen, "fp32")
    model.eos = -1  # no token is, so that every response is as long as asked for
    sampled = _seconds(lambda: engine.sample(model, [pair.prompt for pair in pairs], chosen.new_tokens), steps)
    return {"update": median(seconds), "sampling": median(sampled), "memory": memory, "n": [len(seconds), len(sampled)]}


def _seconds(step: Any, most: int) -> list[float]:
    """Seconds of each of up to ``most`` calls after a first that is left out."""
    step()
    begun, found = clock(), []
    while len(found) < most and (not found or clock() - begun < PATIENCE):
        start = clock()
        step()
        found.append(clock() - start)
    return found


def points(ranges: Mapping[str, Sequence[int]] = RANGES) -> list[dict[str, Any]]:
    """Every point of every factor; the base is measured once and stands in all of them."""
    wanted = {tuple({**BASE, factor: value}.items()) for factor, values in ranges.items() for value in values}
    ordered = sorted(wanted)
    shuffled = [ordered[i] for i in np.random.default_rng(0).permutation(len(ordered))]
    found = {factors: peak.process("tests.bench.growth", dict(factors)) for factors in shuffled}
    return [
        {"factor": factor, "value": _amount(factor, value), **found[tuple({**BASE, factor: value}.items())]}
        for factor, values in ranges.items()
        for value in values
    ]


def _amount(factor: str, value: int) -> int:
    return weights(SIZES[value]) if factor == "weights" else value


def exponent(amounts: Sequence[float], costs: Sequence[float]) -> Value:
    """The slope of log cost over log amount by least squares with its 95 % t interval: a doubling multiplies cost by 2^slope."""
    fit = stats.linregress(np.log(amounts), np.log(costs))
    half = float(fit.stderr * stats.t.ppf(0.975, len(amounts) - 2))
    return Value(float(fit.slope), float(fit.slope) - half, float(fit.slope) + half, len(amounts))


def findings(found: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """The exponent of every cost in every factor, over the whole range and over its upper half."""
    made = []
    for factor in RANGES:
        rows = [row for row in found if row["factor"] == factor]
        for name, part in (("whole range", rows), ("upper half", rows[-max(LEAST, (len(rows) + 1) // 2) :])):
            amounts = [row["value"] for row in part]
            made += [Finding(f"{cost}, {factor}, {name}", exponent(amounts, [row[cost] for row in part])) for cost in COSTS]
    return made


def main() -> None:
    """Measure everything and publish it."""
    found = points()
    base = asdict(workload(BASE))
    records.publish("growth", findings(found), {"base": base, "points": found})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(point(json.loads(sys.argv[1]))))
    else:
        main()
