"""What starting up costs: the command line must not drag in what only a run needs."""

from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "trl", "peft", "accelerate", "datasets", "matplotlib", "scipy", "pandas", "pyarrow", "rich", "numpy"}


def loaded_after(code: str, *, cwd: Path | None = None) -> set[str]:
    """Names of the heavy modules that a fresh interpreter holds after running some code, whatever exit it took."""
    script = f"import sys\ntry:\n    exec({code!r})\nexcept SystemExit:\n    pass\nprint('HEAVY', *({HEAVY!r} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", script], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return set(run.stdout.rpartition("HEAVY")[2].split())


def main(*arguments: str) -> str:
    return f"sys.argv = {['harness', *arguments]!r}\nfrom harness.cli import main\nmain()"


def test_the_check_itself_sees_a_heavy_import() -> None:
    assert loaded_after("import numpy") == {"numpy"}


@pytest.mark.parametrize(
    "code", ["import harness", "import harness.cli", "import harness.plugins.registry", main("--help"), main("compare", "--help")]
)
def test_starting_up_imports_nothing_heavy(code: str) -> None:
    assert loaded_after(code) == set()


@pytest.mark.parametrize("arguments", [("list", "algorithms"), ("list", "tasks")])
def test_listing_plug_ins_imports_none_of_them(arguments: tuple[str, ...]) -> None:
    assert loaded_after(main(*arguments)) <= {"numpy"}


def test_a_dry_run_prices_the_grid_without_torch(tmp_path: Path) -> None:
    assert loaded_after(main("compare", "--task", "tldr", "--dry-run"), cwd=tmp_path) <= {"numpy"}


def test_every_task_is_imported_without_torch() -> None:
    names = [path.stem for path in (ROOT / "tasks").glob("*.py") if path.stem != "__init__"]
    assert names
    assert loaded_after(";".join(f"import tasks.{name}" for name in names)) <= {"numpy"}


@pytest.mark.parametrize(("code", "seconds"), [("import harness", 0.05), (main("--help"), 0.15)])
def test_start_up_time(code: str, seconds: float) -> None:
    """Cpu seconds above those of a bare interpreter, the best of five: other processes may share the core."""

    def cost(script: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    bare = min(cost("import sys") for _ in range(5))
    assert min(cost(f"import sys\n{code}") for _ in range(5)) - bare < seconds


def test_every_public_name_is_there_and_lives_where_the_type_checker_is_told() -> None:
    tree = ast.parse((ROOT / "harness" / "__init__.py").read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    told = {alias.asname or alias.name for node in nodes for alias in node.names}
    for name in harness.__all__:
        assert name in told
        assert name in dir(harness)
        assert getattr(harness, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = harness.nonsense  # type: ignore[attr-defined]
