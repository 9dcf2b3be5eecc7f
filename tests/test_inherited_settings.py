"""Settings that a class inherits: read wherever its base stands, as Python will have them, and refused in one line where they cannot be."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.planning import settings
from harness.plugins import bases, effort, registry
from harness.plugins.registry import Entry

HEAD = "from dataclasses import dataclass\nfrom typing import ClassVar, Generic, Protocol, TypeVar\n\nT = TypeVar('T')\n"
MINE = """
@dataclass(frozen=True)
class Mine({base}):
    name: ClassVar[str] = "mine"
    {fields}

    def updates(self, setup):
        yield from []


algorithm = Mine
"""
BASE = "@dataclass(frozen=True)\nclass Base(RLOO):\n    kl_coef: float = {value}\n    rate: float = 2.0\n"


def write(folder: Path, imports: str, base: str, fields: str = "extra: float = 0.5", name: str = "mine") -> str:
    (folder / f"{name}.py").write_text(HEAD + imports + MINE.format(base=base, fields=fields), encoding="utf-8")
    return str(folder / f"{name}.py")


def beside(folder: Path, value: float = 0.7) -> None:
    (folder / "held_base.py").write_text(HEAD + "from algorithms.rloo import RLOO\n" + BASE.format(value=value), encoding="utf-8")


def made(entry: Entry) -> dict[str, object]:
    """The settings that an instance really has."""
    bound = registry.load_entry(entry).algorithm
    return asdict(bound() if isinstance(bound, type) else bound)


def refused(path: str) -> str:
    with pytest.raises(HarnessError) as caught:
        registry.load("algorithms", path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("imports", "base"),
    [
        ("from algorithms.grpo import GRPO\n", "GRPO"),
        ("from algorithms.grpo import GRPO as Other\n", "Other"),
        ("from algorithms import grpo\n", "grpo.GRPO"),
        ("import algorithms.grpo\n", "algorithms.grpo.GRPO"),
        ("from algorithms.trl_grpo import GRPO\n", "GRPO"),
        ("from algorithms.grpo import GRPO\nAgain = GRPO\n", "Again"),
        ("if True:\n    from algorithms.grpo import GRPO\n", "GRPO"),
        ("from algorithms.grpo import GRPO\n\nclass Between(GRPO):\n    pass\n", "Between, Generic[T]"),
    ],
)
def test_a_class_of_the_shelf_lends_its_settings(tmp_path: Path, imports: str, base: str) -> None:
    entry = registry.find("algorithms", write(tmp_path, imports, base, "beta: float = 0.3"))
    assert entry.defaults == {**registry.find("algorithms", "grpo").defaults, "beta": 0.3} == made(entry)
    assert settings.choices(entry, {"ratio_clip": "0.1"}, "--set ") == {"ratio_clip": (0.1,)}
    with pytest.raises(HarnessError, match=r"mine\.ratio_clp: unknown setting\. Did you mean 'ratio_clip'\?"):
        settings.choices(entry, {"ratio_clp": "0.1"}, "--set ")


def test_what_holds_of_the_base_holds_of_the_class(tmp_path: Path) -> None:
    """Its needs, its family, its grid, and that a run on gold is an oracle's; not what it costs, for it may do other things."""
    entry = registry.find("algorithms", write(tmp_path, "from algorithms.grpo import GRPO\n", "GRPO"))
    assert effort.needs(entry.declaration) == ("reference", "reward model", "sampling")
    assert settings.oracle(entry, {"reward": "gold"}) and not settings.oracle(entry, {"reward": "model"})
    assert (entry.declaration.metadata["family"], effort.cost(entry.declaration)) == ("online", "")
    assert settings.legal_grid(entry) == registry.find("algorithms", "grpo").declaration.grid


def test_a_grid_is_around_what_a_class_declares_itself(tmp_path: Path) -> None:
    """And not around ``reward_share``, which is the first number of its base, and must lie below 1."""
    entry = registry.find("algorithms", write(tmp_path, "from harness.training.sampled import Sampled\n", "Sampled"))
    assert settings.legal_grid(entry) == {"extra": (2.0, 0.5, 0.125)}


def test_a_file_beside_it_lends_its_settings_from_wherever_the_command_starts(tmp_path: Path) -> None:
    beside(tmp_path)
    path = write(tmp_path, "from held_base import Base\n", "Base")
    entry = registry.find("algorithms", path)
    assert entry.defaults == {**registry.find("algorithms", "rloo").defaults, "kl_coef": 0.7, "rate": 2.0, "extra": 0.5} == made(entry)
    assert str(tmp_path) not in sys.path and "held_base" not in sys.modules
    again = registry.find("algorithms", write(tmp_path, "import held_base\n", "held_base.Base"))
    assert again.defaults == entry.defaults == made(again)


def test_files_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    found = []
    for value in (0.7, 0.9):
        folder = tmp_path / str(value)
        folder.mkdir()
        beside(folder, value)
        found.append(made(registry.find("algorithms", write(folder, "from held_base import Base\n", "Base")))["kl_coef"])
    assert found == [0.7, 0.9]


def test_an_edit_of_what_it_inherits_reruns_its_cells(tmp_path: Path) -> None:
    beside(tmp_path)
    path = write(tmp_path, "from held_base import Base\n", "Base")
    rloo = registry.find("algorithms", "rloo").path
    assert bases.own_files(Path(path)) == sorted([rloo, tmp_path / "held_base.py"])
    before = registry.find("algorithms", path)
    beside(tmp_path, 0.9)
    after = registry.find("algorithms", path)
    assert before.sha256 != after.sha256
    assert (made(after)["kl_coef"], after.defaults["kl_coef"]) == (0.9, 0.9)


def test_of_two_bases_the_first_has_the_last_word(tmp_path: Path) -> None:
    beside(tmp_path)
    entry = registry.find("algorithms", write(tmp_path, "from held_base import Base\nfrom algorithms.rloo import RLOO\n", "Base, RLOO"))
    assert entry.defaults["kl_coef"] == made(entry)["kl_coef"] == 0.7


def test_what_an_instance_is_given_is_its_default(tmp_path: Path) -> None:
    path = Path(write(tmp_path, "from algorithms.grpo import GRPO\n", "GRPO"))
    path.write_text(path.read_text().replace("algorithm = Mine", "algorithm = Mine(beta=0.2, extra=1.0)"))
    entry = registry.find("algorithms", str(path))
    assert made(entry) == entry.defaults
    assert (entry.defaults["beta"], entry.defaults["extra"]) == (0.2, 1.0)
    path.write_text(path.read_text().replace("beta=0.2", "beta=1 / 5"))
    assert "mine.py:16: algorithm = Mine(beta=1 / 5, extra=1.0): settings are given by name and as literals" in refused(str(path))


@pytest.mark.parametrize(
    ("text", "beta"),
    [
        ("from algorithms.grpo import GRPO\nalgorithm = GRPO\n", 0.04),
        ("from algorithms import grpo\nalgorithm = grpo.GRPO(beta=0.3)\n", 0.3),
        ("from algorithms.grpo import algorithm\n", 0.04),
    ],
)
def test_a_class_may_be_bound_as_it_is(tmp_path: Path, text: str, beta: float) -> None:
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    entry = registry.find("algorithms", str(tmp_path / "mine.py"))
    assert entry.defaults == {**registry.find("algorithms", "grpo").defaults, "beta": beta} == made(entry)
    assert settings.oracle(entry, {"reward": "gold"})


def test_every_class_of_the_shelf_declares_the_settings_that_it_has() -> None:
    for entry in registry.describe("algorithms"):
        if not entry.declaration.loss and not entry.problem:
            assert made(entry) == entry.defaults, entry.name


@pytest.mark.parametrize(
    ("imports", "base", "said"),
    [
        ("from algorithms.grpo import GRPO\n", "type(GRPO)", ":8: type(GRPO) is known only when the file is run"),
        ("from algorithms.grpo import GRPO\nAgain = type(GRPO)\n", "Again", ":6: type(GRPO) is known only when the file is run"),
        ("from .held_base import Base\n", "Base", ":5: 'from .held_base import Base' has no package to start from in a file by itself"),
        ("from held_bas import Base\n", "Base", ":5: importing it failed with ModuleNotFoundError: No module named 'held_bas'"),
        ("from held_base import Bse\n", "Bse", ":5: importing it failed with ImportError: cannot import name 'Bse' from 'held_base'"),
    ],
)
def test_a_base_that_cannot_be_read_is_one_line(tmp_path: Path, imports: str, base: str, said: str) -> None:
    beside(tmp_path)
    assert refused(write(tmp_path, imports, base)).partition("mine.py")[2].startswith(said)


def test_a_class_that_is_no_dataclass_where_its_base_is_one_is_refused(tmp_path: Path) -> None:
    """Its ``beta`` would be declared .3 and run as .04, and ``extra`` be no setting at all."""
    path = Path(write(tmp_path, "from algorithms.grpo import GRPO\n", "GRPO", "beta: float = 0.3\n    extra: float = 1.0"))
    path.write_text(path.read_text().replace("@dataclass(frozen=True)\n", ""))
    assert "class 'Mine' does not have its own settings beta, extra, for GRPO is a dataclass and it is none; write @data" in refused(
        str(path)
    )


@pytest.mark.parametrize("base", ["Protocol", "Protocol, Generic[T]", "Exception", "object"])
def test_python_s_own_classes_have_no_settings(tmp_path: Path, base: str) -> None:
    assert dict(registry.find("algorithms", write(tmp_path, "", base)).defaults) == {"extra": 0.5}


def test_reading_imports_no_torch(tmp_path: Path) -> None:
    beside(tmp_path)
    path = write(tmp_path, "from held_base import Base\n", "Base")
    code = f"import sys; from harness.plugins import registry; registry.find('algorithms', {path!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=600).returncode == 0
