"""PPO against TRL 1.12: both sides in subprocesses that take turns, the same models, prompts, epochs and batch.

``python -m tests.bench.ppo '{…}'`` is our side: it prints the seconds of every update but the first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from harness.execute.allocation import keep
from tests.bench import peak, workloads
from tests.bench.speed import clock
from tests.bench.workloads import Workload

PYTHON = "HARNESS_BENCH_PPO_PYTHON"  # the interpreter of an environment with TRL 1.12
PEER = Path(__file__).with_name("peer_ppo.py")
EPOCHS = 4
# What our workers ask of the C library (harness/execute/allocation.py), in the words that it reads itself.
KEEPING = {"MALLOC_ARENA_MAX": "1", "MALLOC_TOP_PAD_": str(64 << 20), "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1)}


def absent() -> str:
    """Why there is no peer here, empty where there is one."""
    named = os.environ.get(PYTHON, "")
    if not Path(named).is_file():
        return f"{PYTHON} names no interpreter with trl 1.12.0: {named!r}"
    check = "from importlib.metadata import version; print(version('trl'))"
    found = subprocess.run([named, "-c", check], capture_output=True, text=True, check=False, env=_environment()).stdout.strip()
    return "" if found == "1.12.0" else f"PPO's peer is trl 1.12.0, installed there: {found or 'none'}"


def specification(workload: Workload, folder: Path, *, updates: int, attention: str = "eager", matmul: str = "bf16") -> dict[str, Any]:
    """What both sides are told; writes the policy and its tokenizer as a transformers folder."""
    tokenizer = workloads.tokenizer(workload)
    model = workloads.plain_model(workload)
    model.generation_config.pad_token_id = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pairs = workloads.token_pairs(workloads.texts(workload, workload.pairs), tokenizer)
    numbers = {"episodes": workload.batch, "epochs": EPOCHS, "updates": updates, "new_tokens": workload.new_tokens}
    how = {"attention": attention, "matmul": matmul, "small": workload.size == workloads.STEP.size}
    return {"model": str(folder), "prompts": [list(p.prompt) for p in pairs], "workload": workload.name, **numbers, **how}


def theirs(spec: dict[str, Any]) -> list[float]:
    """Seconds of TRL's updates, in a process that keeps its memory where it multiplies by oneDNN: both are what was found to help it."""
    line = [os.environ[PYTHON], "-W", "ignore", str(PEER), json.dumps(spec)]
    tuned = KEEPING if spec["matmul"] == "bf16" else {}
    run = subprocess.run(line, env={**_environment(), **tuned}, capture_output=True, text=True, timeout=3600, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    found: list[float] = json.loads(run.stdout.splitlines()[-1])["seconds"]
    return found


def ours(spec: dict[str, Any]) -> list[float]:
    """Seconds of our updates, in a process of their own."""
    found: list[float] = peak.process("tests.bench.ppo", spec)["seconds"]
    return found


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def updates(spec: dict[str, Any]) -> Iterator[float]:
    """Seconds of one rollout with all its optimiser steps after another, metrics and all; the reward model is fitted before, one step."""
    from harness.plugins import registry
    from harness.training.ledger import Ledger
    from tests.bench import engine

    workload = workloads.WORKLOADS[spec["workload"]]
    workload = workloads.smoke(workload) if spec["small"] else workload
    pairs = workloads.token_pairs(workloads.texts(workload, workload.batch), workloads.tokenizer(workload))
    policy = engine.policy(workload, "fp32")
    policy.ledger = Ledger(1e9, match="steps")
    settings = {"epochs": spec["epochs"], "minibatches": 1, "samples_per_prompt": 1, "learning_rate": 1e-6, "value_learning_rate": 1e-6}
    settings |= {"value": "separate", "reward_pooling": "last", "score_at": "after_eos", "reward_batch": len(pairs)}
    prompts = cycle(tuple(p) for p in spec["prompts"])
    given = engine.setup(policy, pairs, spec["episodes"] // 2, **settings)
    given = replace(given, prompts=lambda n: list(islice(prompts, n)), max_response_tokens=spec["new_tokens"])
    steps = registry.load("algorithms", "ppo").algorithm().updates(given)
    assert next(steps).phase == "reward"
    while True:
        begun = clock()
        taken = list(islice(steps, spec["epochs"]))
        assert [step.phase for step in taken] == ["rollout"] * spec["epochs"]
        yield clock() - begun


def main(spec: dict[str, Any]) -> None:
    """Print the seconds of our updates; the first pays for what is set up once."""
    keep(0)
    print(json.dumps({"seconds": list(islice(updates(spec), spec["updates"] + 1))[1:]}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
