"""A foreign file that fails is a failed run whose record names file and line, and the grid goes on without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.store import records

ROOT = Path(__file__).parents[1]
HEAD = "import torch\nfrom harness import preference_loss\n\n"
FILES = {
    "raises": "1 / 0\n\n\ndef algorithm(chosen):\n    ...\n",
    "detached": "@preference_loss\ndef algorithm(chosen, rejected):\n    return (rejected - chosen).detach()\n",
    "shapeless": "@preference_loss\ndef algorithm(chosen, rejected):\n    return (rejected - chosen).mean()\n",
    "unknown": "@preference_loss\ndef algorithm(chosen, rejectd):\n    return -chosen\n",
    "no_default": "@preference_loss\ndef algorithm(chosen, *, beta: float):\n    return -beta * chosen\n",
    "indexes": "@preference_loss\ndef algorithm(chosen, rejected):\n    return chosen[999] - rejected\n",
    "bare": "def algorithm(chosen, rejected):\n    return rejected - chosen\n",
    "leaves": "raise SystemExit(3)\n\n\ndef algorithm(chosen):\n    ...\n",
    "constant": "@preference_loss\ndef algorithm(chosen, rejected):\n    return 0 * chosen + 1\n",
    "ramp": "@preference_loss\ndef algorithm(chosen, rejected):\n    return (rejected - chosen - 1e3).relu()\n",
    "no_number": "@preference_loss\ndef algorithm(chosen, rejected):\n    return (rejected - chosen) * torch.nan\n",
}
SAID = {
    "raises": "raises.py:4: importing it failed with ZeroDivisionError: division by zero",
    "detached": "detached.py:4: algorithm 'detached' returns values that nothing can be learnt from",
    "shapeless": "shapeless.py:4: algorithm 'shapeless' must return one value per row, shape (32,), not ()",
    "bare": "bare.py:4: 'algorithm' cannot be run: a function under @preference_loss or a class with updates(setup) is wanted",
    "leaves": "leaves.py:4: importing it failed with SystemExit: 3",
    "constant": "constant.py:4: algorithm 'constant' is constant: its gradient is 0 in every row of every drawn batch",
    "no_number": "no_number.py:4: algorithm 'no_number': its loss or the gradient is not finite at the first step",
    "indexes": "indexes.py:6: IndexError: index 999 is out of bounds",
}
LEFT = {
    "ipo": "ipo.py:4: the name 'ipo' is already",
    "unknown": "unknown.py:4: loss 'unknown': unknown argument 'rejectd'. Did you mean 'rejected'?",
    "no_default": "no_default.py:4: loss 'no_default': hyperparameter 'beta' needs a default",
    "odpo": "odpo needs margins",
}
EXPERIMENT = """
task = "tldr"
model = "tiny-64"
budget = "4steps"
sft_steps = 4
pairs = 64
evaluation_prompts = 8
mark_prompts = 4
probe_prompts = 4
marks = []
frontier_samples = 4
opponent_samples = 2
temperatures = [1]
keep_policies = "none"
"""


@pytest.mark.slow
def test_a_grid_goes_on_without_files_that_fail(tmp_path: Path) -> None:
    for name, body in FILES.items():
        (tmp_path / f"{name}.py").write_text(HEAD + body)
    (tmp_path / "ipo.py").write_text(HEAD + FILES["detached"])
    (tmp_path / "experiment.toml").write_text(EXPERIMENT)
    algorithms = ",".join(["dpo", "odpo", "./ipo.py", *(f"./{name}.py" for name in FILES)])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_CACHE": str(tmp_path / "cache")}
    line = [sys.executable, "-m", "harness", "compare", "experiment.toml", "--algorithms", algorithms, "--set", "dpo.beta=0.5"]
    how: dict[str, Any] = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 900, "check": False}
    run = subprocess.run([*line, "--results", "results", "--jobs", "1"], **how)
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    for said in LEFT.values():
        assert any(line.startswith("left out:") and said in line for line in run.stderr.splitlines())
    study = records.read(records.studies(tmp_path / "results")[0])
    found = {cell.record["algorithm"]["name"]: cell.record for cell in study.cells}
    assert not found.keys() & LEFT.keys()
    assert found["dpo"]["status"] == "finished"
    assert found["ramp"]["status"] == "finished"  # no gradient here, where no pair is 1000 nats apart, but elsewhere
    for name, said in SAID.items():
        assert found[name]["status"] == "failed"
        assert said in found[name]["failure"]["message"]
        assert any(line.startswith(name) and said in line for line in run.stderr.splitlines()[:-1])
        assert name in run.stderr.splitlines()[-1]
    alone = [*line[: line.index("--algorithms")], "--algorithms", "dpo", "--set", "dpo.beta=0.5", "--results", "results"]
    again = subprocess.run(alone, **how)
    assert (again.returncode, "failed" in again.stderr) == (0, False), again.stderr  # the study holds failures that nobody asked for now
