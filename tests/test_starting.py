"""Workers are forks of a process that has imported the libraries, wherever the user stands; this process's environment stays its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.execute import starting

ROOT = Path(__file__).parents[1]
SCRIPT = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
from harness.execute import starting


def seen():
    return starting.NEEDED in sys.modules, os.getppid(), os.environ["OMP_NUM_THREADS"], os.environ.get("MKL_DYNAMIC"), sys.path


if __name__ == "__main__":
    before = dict(os.environ)
    context = starting.context({"MKL_DYNAMIC": "FALSE"})
    assert dict(os.environ) == before
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        loaded, parent, threads, dynamic, path = pool.submit(seen).result()
    print(loaded, parent != os.getpid(), threads, dynamic, path == sys.path)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every worker starts anew")
def test_workers_have_the_libraries_and_nothing_of_the_folder_stood_in(tmp_path: Path) -> None:
    """A file that is called like a library would be imported where ``python -c`` looks first: in the folder that one stands in."""
    (tmp_path / "transformers.py").write_text("from pathlib import Path\nPath('imported').touch()\nraise SystemExit(3)\n")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "run.py").write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, str(tmp_path / "scripts" / "run.py")]
    found = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert found.stdout.split() == ["True", "True", "1", "FALSE", "True"], found.stderr
    assert not (tmp_path / "imported").exists()


def test_beside_an_accelerator_every_worker_starts_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(starting, "ACCELERATORS", (str(tmp_path),))
    assert starting.context({}).get_start_method() == "spawn"
