"""Peak memory of one side: ``python -m tests.bench.peak '{"side": "ours", "workload": "W1", "precision": "fp32"}'`` prints bytes.

A process of its own, because the peak of one side would hide that of the next.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def process(module: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What ``python -m module spec`` prints last, as JSON; raises AssertionError with the end of its complaint where it fails."""
    line = [sys.executable, "-W", "ignore", "-m", module, json.dumps(spec)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def measured(**spec: Any) -> dict[str, float]:
    """Bytes at the peak and after the imports (``floor``) of a process that takes a few steps as ``spec`` says."""
    return process("tests.bench.peak", spec)


def peaks(workload: str, precision: str, peer: str, repeats: int, *, small: bool = False) -> dict[str, list[dict[str, float]]]:
    """Peak and floor of ours and of a configuration of TRL, ``repeats`` processes each, in turns."""
    sides = {"ours": {"side": "ours", "precision": precision}, "theirs": {"side": peer}}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, spec in sides.items():
            found[name].append(measured(workload=workload, small=small, **spec))
    return found


def _steps(side: str, workload: str, precision: str = "fp32", small: bool = False) -> tuple[Iterator[object], str | None]:
    """The side's steps and the matmul switch they run under."""
    from tests.bench import engine, workloads

    chosen = workloads.WORKLOADS[workload]
    chosen = workloads.smoke(chosen) if small else chosen
    rows = workloads.texts(chosen, chosen.pairs)
    if side == "ours":
        return engine.updates(chosen, workloads.token_pairs(rows, workloads.tokenizer(chosen)), precision), None
    from tests.bench import peer

    configuration = peer.CONFIGURATIONS[side]
    return peer.Steps(chosen, rows, configuration), configuration.matmul


def main(spec: dict[str, Any]) -> None:
    """Take the steps and print the peak."""
    from harness.running.facts import peak_memory

    count = spec.pop("steps", 3)
    if spec["side"] != "ours":
        import trl.trainer.dpo_trainer  # noqa: F401  # so that the floor holds what the side imports
    from tests.bench import engine, speed  # noqa: F401

    floor = peak_memory()
    steps, precision = _steps(**spec)
    speed.timed(steps, count, precision)()
    print(json.dumps({"peak": peak_memory(), "floor": floor}), flush=True)
    os._exit(0)  # a trainer's thread may still wait for its next step


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
