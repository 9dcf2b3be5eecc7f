"""Who may import whom (ARCHITECTURE.md), read from the syntax tree of every file, and no plug-in's name in harness/."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.plugins import registry

ROOT = Path(__file__).parents[1]
OUTSIDE = {"os", "pathlib", "io", "shutil", "subprocess", "socket", "tempfile", "urllib", "http", "random", "pickle", "logging"}
STANDARD = set(sys.stdlib_module_names)


class Imported(NamedTuple):
    """One import: the file, the dotted module, and whether it happens when the file is imported."""

    file: str
    module: str
    at_once: bool


def imports(path: Path) -> Iterator[Imported]:
    """Every import of a file but those for the type checker alone."""

    def walk(node: ast.AST, at_once: bool) -> Iterator[Imported]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from (Imported(file, alias.name, at_once) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield from (Imported(file, f"{child.module}.{alias.name}", at_once) for alias in child.names)
            else:
                yield from walk(child, at_once and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    file = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
    return walk(ast.parse(path.read_text(encoding="utf-8")), True)


def room(*patterns: str) -> list[Imported]:
    """The imports of every file that matches; an empty room is a mistake in the test."""
    files = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    assert files, patterns
    return [each for path in files for each in imports(path)]


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def standard(module: str, *, but: set[str] = frozenset()) -> bool:  # type: ignore[assignment]
    return module.partition(".")[0] in STANDARD - but


def test_the_reader_tells_early_from_late_and_skips_the_type_checker_s(tmp_path: Path) -> None:
    text = "import a.b\nif TYPE_CHECKING:\n    import c\ndef f():\n    from d import e\nclass G:\n    import h\n"
    (tmp_path / "x.py").write_text(text)
    found = {(each.module, each.at_once) for each in imports(tmp_path / "x.py")}
    assert found == {("a.b", True), ("d.e", False), ("h", True)}


def test_algorithms_know_torch_the_nouns_and_training() -> None:
    public = {f"harness.{name}" for name in __import__("harness").__all__} - {"harness.compare"}
    allowed = ("torch", "harness.types", "harness.training", "harness.errors", "harness.foreign", "algorithms")
    wrong = [
        each
        for each in room("algorithms/*.py")
        if not (within(each.module, *allowed) or each.module in public or standard(each.module, but=OUTSIDE))
    ]
    assert wrong == []


def test_tasks_know_numpy_the_nouns_and_data() -> None:
    allowed = ("numpy", "tasks", "harness.types", "harness.errors", "harness.data", "harness.measure.judge", "harness.exact.world")
    assert [each for each in room("tasks/**/*.py") if not (within(each.module, *allowed) or standard(each.module, but={"pickle"}))] == []


PURE_MEASURES = (  # what reports compute with
    *("statistics/*", "accounting", "budget_curves", "frontier", "frontier_scores", "best_of_n", "overoptimisation", "verdicts"),
    *("tuning", "targets", "lineage", "pairwise", "agreement", "length_control", "kl", "text"),
)
RECORD_ROOMS = ("harness/report/*.py", "harness/store/*.py", *(f"harness/measure/{name}.py" for name in PURE_MEASURES))


def test_records_and_reports_need_no_torch() -> None:
    third_party = ("numpy", "scipy", "matplotlib", "jinja2", "markupsafe", "pydantic_core")
    measures = tuple(f"harness.measure.{name.removesuffix('/*')}" for name in PURE_MEASURES)
    pure = (
        "harness.errors",
        "harness.called",
        "harness.plural",
        "harness.checkpoints",
        "harness.types",
        "harness.training.ledger",
        *measures,
    )
    own = ("harness.report", "harness.store", *pure)
    wrong = [each for each in room(*RECORD_ROOMS) if not (within(each.module, *third_party, *own) or standard(each.module, but={"pickle"}))]
    assert wrong == []


def test_models_know_no_task_algorithm_or_store() -> None:
    forbidden = ("tasks", "algorithms", "harness.store", "harness.report", "harness.compare", "harness.plugins.registry")
    assert [each for each in room("harness/models/*.py") if within(each.module, *forbidden)] == []


def test_training_knows_no_model_file_or_place() -> None:
    forbidden = ("tasks", "algorithms", "transformers", "datasets", "matplotlib", "harness.store", "harness.report", "harness.compare")
    assert [each for each in room("harness/training/*.py") if within(each.module, *forbidden)] == []


def test_the_parent_process_needs_no_torch() -> None:
    """The command line, the registry and what resolves and prices an experiment, whenever they import."""
    alone = ("cli", "control", "checkpoints", "errors", "types", "plugins/registry", "plugins/declaration", "plugins/effort")
    files = ("harness/commands/*.py", "harness/planning/*.py", *(f"harness/{name}.py" for name in alone))
    files += tuple(f"harness/data/{name}.py" for name in ("fetch", "pinning", "shapes"))
    assert [each for each in room(*files) if within(each.module, "torch", "transformers", "peft", "accelerate", "harness.models")] == []


def test_harness_imports_no_algorithm_and_no_task() -> None:
    assert [each for each in room("harness/**/*.py") if within(each.module, "algorithms", "tasks")] == []


def test_nothing_pickles_or_draws_from_the_global_generator() -> None:
    everywhere = room("harness/**/*.py", "algorithms/*.py", "tasks/**/*.py")
    assert [each for each in everywhere if within(each.module, "pickle", "joblib", "dill", "random", "yaml")] == []


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every string literal of a file with its line, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield node.lineno, node.value


# The figure of best-of-n from the reference's own samples has been a file of this name since before an algorithm had it.
FIGURES = {"harness/report/figure_best.py": "best-of-n"}


@cache
def plugin_names() -> set[str]:
    entries = [entry for kind in registry.BINDINGS for entry in registry.describe(kind)]
    return {registry.canonical(word) for entry in entries for word in (entry.name, *entry.declaration.aliases)}


def test_the_name_check_sees_a_name(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text('"""dpo"""\nif name == "DPO-positive":\n    pass\n')
    found = [text for _, text in strings(tmp_path / "x.py")]
    assert found == ["DPO-positive"]
    assert registry.canonical(found[0]) in plugin_names()


@pytest.mark.parametrize("path", sorted(ROOT.glob("harness/**/*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_harness_knows_no_plug_in_by_name(path: Path) -> None:
    names, spared = plugin_names(), FIGURES.get(str(path.relative_to(ROOT)))
    assert [(line, text) for line, text in strings(path) if registry.canonical(text) in names and text != spared] == []
