"""docs/add-an-algorithm.md works as printed: its files are written, its commands run on them, and its wheel is built and installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "add-an-algorithm.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [text.strip() for language, text in BLOCKS if language == "bash"]
FILES = {text.split("\n", 1)[0].removeprefix("# "): text for language, text in BLOCKS if language != "bash"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader stands, with a ``harness`` and a ``python`` of this environment first on the path."""
    place = tmp_path_factory.mktemp("kit")
    (place / "bin").mkdir()
    for name, words in {"harness": "-m harness ", "python": ""}.items():
        command = place / "bin" / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        command.chmod(0o755)
    (place / "pytest.ini").write_text("[pytest]\n")
    return place


def run(line: str, folder: Path, *paths: Path) -> subprocess.CompletedProcess[str]:
    found = os.pathsep.join(map(str, (*paths, ROOT)))
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": found}
    return subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)


def said(line: str, folder: Path, *paths: Path) -> str:
    found = run(line, folder, *paths)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.mark.slow
def test_the_page_s_blocks_in_order(folder: Path) -> None:
    outputs = {}
    for number, line in enumerate(COMMANDS):
        outputs[line] = said(line, folder)
        if number == 0:  # the page shows what the new files become
            assert {"js_dpo.py", "test_js_dpo.py"} <= {path.name for path in folder.iterdir()}
            for name, text in FILES.items():
                (folder / name).write_text(text, encoding="utf-8")
    checked = outputs["harness check ./js_dpo.py"]
    assert checked.count("  obeyed  ") == 9
    assert "js_dpo: 4.00 forwards" in checked
    for numbers in (("beta=0.5", "0.832", "0.545", "0.00230"), ("beta=0.1", "1.507", "0.660", "0.00001")):
        assert any(all(number in row.split() for number in numbers) for row in checked.splitlines()), checked
    place = checked.split("\nplace (harness compare --task tldr --algorithms dpo,./js_dpo.py --quick ")[1]
    assert {"dpo", "js_dpo"} <= {row.split(" ")[0] for row in place.splitlines()} and "QUICK" in place
    assert (folder / "js_dpo-card.png").stat().st_size > 10_000
    assert outputs["python known.py"].startswith("Place(kl=")
    assert "js_dpo" in outputs["harness compare --task tldr --algorithms dpo,./js_dpo.py --quick --dry-run"]


@pytest.mark.slow
def test_the_page_s_wheel_is_built_installed_and_found(tmp_path: Path, folder: Path) -> None:
    source, installed = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for name in ("js_dpo.py", "pyproject.toml"):
        (source / name).write_text(FILES[name], encoding="utf-8")
    build = f"python -m build --wheel --no-isolation --outdir {tmp_path / 'dist'} {source}"
    said(build, folder)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert "js_dpo.py" in zipfile.ZipFile(wheel).namelist()
    said(f"python -m pip install --quiet --no-deps --no-index --target {installed} {wheel}", folder)
    listed = next(line for line in said("harness list algorithms --check", folder, installed).splitlines() if "js_dpo" in line)
    assert "from js_dpo" in listed
    assert "cannot be used" not in listed
    dry = said("harness compare --task tldr --algorithms dpo,js_dpo --quick --dry-run", folder, installed)
    assert "js_dpo" in dry


def test_a_wheel_that_takes_a_built_in_s_name_is_listed_with_its_problem_and_stops_nothing(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "other_loss.py").write_text(FILES["js_dpo.py"], encoding="utf-8")
    information = tmp_path / "other-0.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 0.1\n")
    (information / "entry_points.txt").write_text("[harness.algorithms]\nipo = other_loss\n")
    lines = said("harness list algorithms", folder, tmp_path).splitlines()
    assert any("cannot be used: the name 'ipo' is already taken by" in line for line in lines)
    assert any(line.strip().startswith("ipo ") and "cannot be used" not in line for line in lines)
