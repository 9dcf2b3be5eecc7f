"""Settings shared by all tests: one thread, no network, no window, the same examples on every run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Set before anything imports torch, transformers or matplotlib, which read them once.
for name, value in {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
}.items():
    os.environ[name] = value

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

ROOT = Path(__file__).parents[1]
PATIENCE = 900  # seconds that a command may take: whole comparisons take a minute of CPU, and a busy machine gives it slowly

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads what another run left in the cache, and none writes below the user's home."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("HARNESS_RESULTS", raising=False)


@pytest.fixture
def command() -> Command:
    """Runs ``python -m harness`` in a process of its own and returns what it printed."""

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-W", "error::DeprecationWarning:harness", "-m", "harness", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data beside the project, where there is one."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder
