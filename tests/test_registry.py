"""Names to plug-ins: aliases, paths, wheels, what is declared without being imported, and what happens when something is broken."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.errors import HarnessError, near
from harness.plugins import declaration, places, registry
from harness.plugins.declaration import read

LOSS = '''"""A loss for tests.

More.
"""

raise_on_import = 1 / 0
ALIASES = ("second-name",)
grid = {"beta": [0.5, 0.1]}
optimiser = {"learning_rate": 1e-3}


@declare(family="offline", source="eq. 1", control=True, computed=1 + raise_on_import)
def algorithm(chosen, rejected, *, beta: float = 0.1, reduction: Literal["sum", "mean"] = "sum", steps: int = 3):
    return chosen
'''

CLASS = '''"""An on-policy algorithm."""
from dataclasses import dataclass
from typing import ClassVar

family = "online"


@dataclass(frozen=True)
class Policy:
    name: str = "policy"
    kl: float = 0.05
    epochs: int = 2
    cache: ClassVar[int] = 1
    _hidden: int = 0

    def updates(self, setup):
        yield from ()


algorithm = Policy()
'''


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def wheel(folder: Path, name: str, files: dict[str, str], points: str) -> None:
    """An installed distribution as pip leaves it: modules, METADATA, entry_points.txt and RECORD."""
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(points)
    record = []
    for path, text in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
        record.append(f"{path},sha256={hashlib.sha256(text.encode()).hexdigest()},{len(text)}")
    (information / "RECORD").write_text("\n".join(record))


def test_every_built_in_is_found_by_its_stem_and_by_its_aliases_however_it_is_spelt() -> None:
    for kind in registry.BINDINGS:
        entries = registry.describe(kind)
        assert entries, f"no {kind} at all"
        for entry in entries:
            assert not entry.problem
            for word in (entry.name, *entry.declaration.aliases):
                assert registry.find(kind, word.replace("_", "-").upper()).path == entry.path
        assert registry.find(kind, entries[0].name).path == entries[0].path


def test_the_two_spellings_of_dpo_positive_are_one_algorithm() -> None:
    assert registry.find("algorithms", "dpo-positive") == registry.find("algorithms", "dpo_positive") == registry.find("algorithms", "dpop")


def test_a_path_is_read_without_running_it(tmp_path: Path) -> None:
    path = write(tmp_path, "my-loss.py", LOSS)
    entry = registry.find("algorithms", str(path))
    assert (entry.name, entry.module, entry.path) == ("my_loss", "", path)
    assert entry.sha256 == hashlib.sha256(LOSS.encode()).hexdigest()
    declared = entry.declaration
    assert declared.summary == "A loss for tests."
    assert declared.grid == {"beta": (0.5, 0.1)}
    assert declared.aliases == ("second-name",)
    assert declared.metadata == {"family": "offline", "source": "eq. 1", "control": True}
    assert declared.knob == "beta"
    assert dict(entry.defaults) == {"learning_rate": 1e-3, "beta": 0.1, "reduction": "sum", "steps": 3}
    assert {each.name: each.choices for each in declared.hyperparameters}["reduction"] == ("sum", "mean")


def test_a_class_declares_its_annotated_fields(tmp_path: Path) -> None:
    declared = read(write(tmp_path, "policy.py", CLASS), "algorithm")
    assert {each.name: (each.annotation, each.default) for each in declared.hyperparameters} == {
        "kl": ("float", 0.05),
        "epochs": ("int", 2),
    }
    assert declared.metadata == {"family": "online"}


def test_a_path_is_imported_under_its_stem_and_once(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.py", CLASS)
    module = registry.load("algorithms", str(path))
    assert module.algorithm.kl == 0.05
    assert module.__name__.endswith(".mine")
    assert registry.load("algorithms", str(path)) is module


def test_an_edited_file_has_another_hash_and_is_imported_anew(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.py", CLASS)
    first, module = registry.find("algorithms", str(path)), registry.load("algorithms", str(path))
    path.write_text(CLASS.replace("0.05", "0.5"))
    assert registry.find("algorithms", str(path)).sha256 != first.sha256
    assert registry.load("algorithms", str(path)).algorithm.kl == 0.5
    assert module.algorithm.kl == 0.05


def test_an_unknown_name_names_the_near_one_and_what_exists() -> None:
    with pytest.raises(HarnessError, match=r"Unknown algorithm 'dop'.*Did you mean 'dpop?'\?.*Known algorithms: .*\bdpo\b.*\bkto\b"):
        registry.find("algorithms", "dop")
    with pytest.raises(HarnessError, match=r"Unknown task 'tdlr'\. Did you mean 'tldr'\? Known tasks: .*tldr"):
        registry.find("tasks", "tdlr")


def test_near_says_nothing_where_nothing_is_near() -> None:
    assert near("zzzz", ["beta", "tau"]) == ""
    assert near("learning-rat", ["beta", "learning_rate"]) == " Did you mean 'learning_rate'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no 'algorithm'"),
        ("def algorithm(:\n", "broken.py:1: not a Python file"),
        ("def algorithm(): ...\ngrid = 3\n", r"broken\.py:2: grid must be a literal dictionary with names as keys, found 3"),
    ],
)
def test_a_broken_file_is_fatal_where_it_is_asked_for(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "broken.py", text)
    with pytest.raises(HarnessError, match=message):
        registry.find("algorithms", str(path))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"absent\.py: no such file"):
        registry.find("algorithms", str(tmp_path / "absent.py"))


def test_a_failing_import_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "failing.py", LOSS)
    with pytest.raises(HarnessError, match=r"failing\.py:6: importing it failed with ZeroDivisionError"):
        registry.load("algorithms", str(path))


def test_a_wheel_announces_its_algorithm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = "[harness.algorithms]\nborrowed = borrowed_pack.inner\nlost = nowhere_at_all\ndpo = borrowed_pack.inner\n"
    wheel(tmp_path, "borrowed", {"borrowed_pack/__init__.py": "1 / 0\n", "borrowed_pack/inner.py": CLASS}, points)
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = {f"{entry.name}@{entry.module}": entry for entry in registry.describe("algorithms")}
    assert entries["borrowed@borrowed_pack.inner"].declaration.summary == "An on-policy algorithm."
    assert "does not exist" in entries["lost@nowhere_at_all"].problem
    assert "already taken" in entries["dpo@borrowed_pack.inner"].problem
    assert registry.find("algorithms", "dpo").module == "algorithms.dpo"
    assert "ZeroDivisionError" in registry.check(entries["borrowed@borrowed_pack.inner"])
    with pytest.raises(HarnessError, match="nowhere_at_all"):
        registry.find("algorithms", "lost")


def test_a_wheel_s_hash_covers_every_file_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = set()
    for version in ("a = 1\n", "a = 2\n"):
        folder = tmp_path / version[4]
        folder.mkdir()
        files = {"lent_pack/__init__.py": "", "lent_pack/part.py": version, "lent_pack/inner.py": CLASS}
        wheel(folder, "lent", files, "[harness.algorithms]\nlent = lent_pack.inner\n")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            hashes.add(registry.find("algorithms", "lent").sha256)
    assert len(hashes) == 2
    assert all(len(each) == 64 for each in hashes)


def test_a_clobbered_package_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("OTHER = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "tasks", raising=False)
    with pytest.raises(HarnessError, match=r"The package 'tasks' found at .* is not the one of preference-harness"):
        registry.describe("tasks")


def test_check_imports_every_built_in() -> None:
    assert {entry.name: registry.check(entry) for kind in registry.BINDINGS for entry in registry.describe(kind)} == {
        entry.name: "" for kind in registry.BINDINGS for entry in registry.describe(kind)
    }


def test_a_file_whose_package_is_absent_is_listed_with_one_line_and_refused(tmp_path: Path) -> None:
    (tmp_path / "lacking.py").write_text('requires = "no_such_package"\n\n\nclass Lacking:\n    pass\n\n\nalgorithm = Lacking\n')
    with pytest.raises(HarnessError, match="needs the package no_such_package, which is not installed; pip install"):
        registry.find("algorithms", str(tmp_path / "lacking.py"))


def test_a_name_is_found_without_reading_every_other_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison asks for a name some twenty times: each took all files of the package, and where their imports lie."""
    read: list[Path] = []
    found: list[str] = []
    reading, finding = declaration.read, places._find
    monkeypatch.setattr(declaration, "read", lambda path, name: (read.append(path), reading(path, name))[1])
    monkeypatch.setattr(places, "_find", lambda module: (found.append(module), finding(module))[1])
    monkeypatch.setattr(places, "_located", {})
    assert registry.find("algorithms", "PPO").name == "ppo"
    assert [path.name for path in read] == ["ppo.py"]
    assert len(found) < 60
    registry.find("algorithms", "ppo")
    assert {module for module in found if found.count(module) > 1} <= {"", *(name for name in found if finding(name) is None)}
