"""Bare files imported as modules: under a name of their own, with what lies beside them, and without leaving a name to collide with."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from harness.errors import HarnessError
from harness.plugins import syntax


def imported(path: Path, name: str) -> ModuleType:
    """The module of a file under a name that no other file has, once; HarnessError where it imports relatively, being in no package."""
    if name in sys.modules:
        return sys.modules[name]
    _refuse_relative(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _beside(path.parent, name):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _beside(folder: Path, name: str) -> Iterator[None]:
    """Imports end in the folder where they find nothing else, and its files lose their plain names afterwards, which others may have."""
    before, added = set(sys.modules), str(folder) not in sys.path
    sys.path += [str(folder)] * added
    try:
        yield
    finally:
        if added:
            sys.path.remove(str(folder))
        for each in set(sys.modules) - before - {name}:
            file = getattr(sys.modules[each], "__file__", None)
            if file and Path(file).parent == folder:
                sys.modules[f"{name}.{each}"] = sys.modules.pop(each)


def _refuse_relative(path: Path) -> None:
    for node in syntax.imports(syntax.parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            written = f"from {'.' * node.level}{node.module or ''} import {node.names[0].name}"
            meant = f"from {node.module} import {node.names[0].name}" if node.module else f"import {node.names[0].name}"
            raise HarnessError(f"{path}:{node.lineno}: '{written}' has no package to start from in a file by itself; write '{meant}'.")
