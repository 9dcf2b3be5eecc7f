"""What the commands print where nothing has to be trained."""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness.plugins import registry
from tests.conftest import Command


def test_help_names_the_three_commands(command: Command) -> None:
    text = command("--help").stdout
    assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in ("compare", "report", "list"))


def test_a_dry_run_prices_every_cell_and_writes_nothing(command: Command, tmp_path: Path) -> None:
    arguments = ["--task", "tldr", "--algorithms", "dpo,kto", "--seeds", "0,4", "--set", "dpo.beta=0.05,0.1", "--set", "kto.beta=1"]
    run = command("compare", *arguments, "--budget", "1.5e12", "--dry-run", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    cells = re.findall(r"^(\S+) +(\S+) FLOPs +about (.+)$", run.stdout, re.MULTILINE)
    names = {name for name, _, _ in cells}
    assert names == {f"{cell}-seed{seed}" for cell in ("dpo-beta=0.05", "dpo-beta=0.1", "kto-beta=1.0") for seed in (0, 4)}
    assert {flops for _, flops, _ in cells} == {"1.5e+12"}
    assert "6 cells" in run.stdout
    assert "9e+12 FLOPs together" in run.stdout
    assert "seeds = [0, 4]" in run.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_prices_every_trial_apart_from_the_cells(command: Command, tmp_path: Path) -> None:
    """Two grid values, each with its default and two drawn points, and at most six more for the one KL target."""
    arguments = ["--task", "tldr", "--algorithms", "dpo", "--set", "dpo.beta=0.5,2", "--tune", "2", "--kl-targets", "1"]
    run = command("compare", *arguments, "--match", "steps", "--budget", "50steps", "--dry-run", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert len(re.findall(r"^trial-dpo-beta=\S+-seed1  50 optimiser steps  about", run.stdout, re.MULTILINE)) == 6
    assert "6 trials and at most 6 for the KL targets, on seed 1 and tuning prompts; 600 optimiser steps charged to tuning" in run.stdout
    assert "2 cells at 50steps, 100 optimiser steps" in run.stdout


def test_an_experiment_file_says_what_the_flags_say(command: Command, tmp_path: Path) -> None:
    text = 'task = "tldr"\nseeds = 2\nbudget = 1e12\n[algorithms.dpo-positive]\npenalty = [1, 5]\nlearning_rate = 1e-4\n'
    (tmp_path / "experiment.toml").write_text(text)
    file = command("compare", "experiment.toml", "--dry-run", cwd=tmp_path)
    flags = ["--seeds", "2", "--budget", "1e12", "--set", "dpop.penalty=1,5", "--set", "dpop.learning_rate=1e-4"]
    line = command("compare", "--task", "tldr", "--algorithms", "dpop", *flags, "--dry-run", cwd=tmp_path)
    assert file.stdout == line.stdout
    assert "dpop-penalty=5.0-learning_rate=0.0001-seed1" in file.stdout


def test_quick_is_one_setting_each(command: Command, tmp_path: Path) -> None:
    run = command("compare", "--task", "tldr", "--quick", "--dry-run", cwd=tmp_path)
    names = [line.split("-")[0] for line in run.stdout.splitlines() if " FLOPs  about " in line]
    assert len(names) == len(set(names)) >= 5
    assert 'model = "tiny-64"' in run.stdout


def test_an_algorithm_of_one_s_own_is_compared_by_its_path(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('"""Mine."""\ngrid = {"delta": (1.0, 2.0)}\ndef algorithm(chosen, *, delta: float = 1.0): ...\n')
    run = command("compare", "--task", "tldr", "--algorithms", "dpo,./mine.py", "--set", "mine.delta=3", "--dry-run", cwd=tmp_path)
    assert "mine-delta=3.0-seed0" in run.stdout


def test_list_shows_everything_there_is(command: Command, tmp_path: Path) -> None:
    text = command("list", cwd=tmp_path).stdout
    assert re.findall(r"^(\w+):$", text, re.MULTILINE) == ["algorithms", "tasks", "runs"]
    for kind in registry.BINDINGS:
        for entry in registry.describe(kind):
            assert re.search(rf"^  {entry.name} +{re.escape(entry.declaration.summary)}", text, re.MULTILINE)
    assert text.endswith("runs:\n  none\n")


def record(folder: Path, status: str) -> None:
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({"schema": 1, "kind": "cell", "status": status}))


def test_list_counts_runs_by_status(command: Command, tmp_path: Path) -> None:
    study = tmp_path / "results" / "runs" / "toy-12345678"
    record(study / "cells" / "a", "finished")
    record(study / "cells" / "b", "finished")
    record(study / "cells" / "c", "diverged")
    (study / "cells" / "d").mkdir()
    (study / "experiment.json").write_text("{}")
    assert command("list", "runs", cwd=tmp_path).stdout == "runs:\n  toy-12345678  1 diverged, 2 finished, 1 unfinished\n"


TASK = '''"""A task of one's own."""
from harness import Defaults, Task


def task(source=None):
    return Task(
        name="mine", version="7", source="made", demonstrations=None, training_prompts=None, tuning=(), evaluation=(),
        defaults=Defaults(algorithms=("dpo",), model="tiny-64"), max_prompt_tokens=8, max_response_tokens=8,
        vocabulary=("a", "b"), typical_tokens=(10.0, 5.0),
    )
'''


def test_a_task_of_one_s_own_is_found_by_its_path_and_named_by_its_stem(command: Command, tmp_path: Path) -> None:
    (tmp_path / "my-task.py").write_text(TASK)
    run = command("compare", "--task", "./my-task.py", "--dry-run", cwd=tmp_path)
    assert 'task = "my_task"' in run.stdout
    assert 'task_version = "7"' in run.stdout
    assert re.search(r"^Study my_task-[0-9a-f]{8}: 3 cells", run.stdout, re.MULTILINE)
