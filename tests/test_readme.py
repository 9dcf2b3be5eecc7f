"""Every code block of the README works as printed: files are written, commands run on them; the two that install are slow."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = (README, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALL = re.compile(r"""pip"? install (?:--quiet )?(-c constraints\.txt .+?)(?= &&|$)""", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)\)")
DOWNLOADS_AND_TRAINS = 3600  # seconds


class Block(NamedTuple):
    language: str
    text: str

    @property
    def installs(self) -> bool:
        return "pip install" in self.text


def read(page: str) -> list[Block]:
    return [Block(*match) for match in FENCE.findall(page)]


BLOCKS = read(README.read_text(encoding="utf-8"))
FILES = [block for block in BLOCKS if block.language in ("python", "toml")]
COMMANDS = [block for block in BLOCKS if block.language == "bash" and not block.installs]
INSTALLS = [block for block in BLOCKS if block.language == "bash" and block.installs]


def name_of(block: Block) -> str:
    """A file's block opens with its name in a comment."""
    named = re.match(r"# (\S+)\n", block.text)
    assert named, block.text
    return named[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader would stand: the README's files as printed, a ``harness`` command, some rows and a model of their own."""
    place = tmp_path_factory.mktemp("readme")
    for block in FILES:
        (place / name_of(block)).write_text(block.text, encoding="utf-8")
    shutil.copy(ROOT / "tests" / "fixtures" / "tldr_pairs.jsonl", place / "posts.jsonl")
    model_folder(place / "my-model")
    command = place / "bin" / "harness"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness "$@"\n')
    command.chmod(0o755)
    return place


def model_folder(path: Path) -> None:
    """What a price needs of a model: its configuration, the header of its weights, and a tokenizer beside them."""
    from safetensors.numpy import save_file

    np = pytest.importorskip("numpy")
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 16}))
    weights = {"model.embed_tokens.weight": (50, 16), "model.layers.0.mlp.up_proj.weight": (32, 16)}
    save_file({name: np.zeros(shape, np.float32) for name, shape in weights.items()}, path / "model.safetensors")
    (path / "tokenizer.json").write_text("{}")


def run(text: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{cwd / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    line = ["bash", "-euo", "pipefail", "-c", text]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_reader_finds_blocks_and_the_runner_sees_a_failure(folder: Path) -> None:
    assert read("a\n```bash\nx\ny\n```\n\n```toml\nz = 1\n```\n") == [Block("bash", "x\ny\n"), Block("toml", "z = 1\n")]
    assert run("harness compare --task tdlr --dry-run\ntrue", folder).returncode == 2


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert len(BLOCKS) == len(FILES) + len(COMMANDS) + len(INSTALLS)
    assert len(INSTALLS) == 2
    assert {name_of(block) for block in FILES} == {"mine.py", "experiment.toml"}
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.text.splitlines()[0][:60])
def test_a_command_does_what_its_block_promises(block: Block, folder: Path) -> None:
    done = run(block.text, folder)
    assert done.returncode == 0, done.stderr
    assert "cannot be used" not in done.stdout
    if "--dry-run" in block.text:
        assert done.stdout.rstrip().endswith("Nothing was run.")
    if "mine.py" in block.text or "experiment.toml" in block.text:
        assert "mine-delta=4.0-seed0" in done.stdout
        assert "dpo-" in done.stdout
    assert not (folder / "results").exists()


def test_the_loss_of_the_readme_loads_and_keeps_the_laws(folder: Path) -> None:
    from harness.plugins import laws, registry

    loss = registry.load("algorithms", str(folder / "mine.py")).algorithm
    assert loss.name == "mine"
    assert laws.violations(loss) == []


def test_the_readme_installs_as_the_continuous_check_does() -> None:
    checked = INSTALL.findall((ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert len(checked) == 2
    compares, tests = (INSTALL.findall(block.text) for block in INSTALLS)
    assert tests == checked
    assert compares == [each.replace("'.[test]'", ".") for each in checked]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    local = [target for target in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize(("place", "proof"), [(0, "Report: results/runs/"), (1, " passed")], ids=["compare", "tests"])
def test_an_installing_command_works_in_a_copy_of_the_checkout(place: int, proof: str, tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    left_out = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache", ".hypothesis", "dist", "build")
    shutil.copytree(ROOT, copy, ignore=left_out)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "VIRTUAL_ENV"))}
    line = ["bash", "-euo", "pipefail", "-c", INSTALLS[place].text]
    done = subprocess.run(line, cwd=copy, env=environment, capture_output=True, text=True, timeout=DOWNLOADS_AND_TRAINS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert proof in done.stdout
    assert bool(list(copy.glob("results/runs/*/report/index.html"))) == (place == 0)
