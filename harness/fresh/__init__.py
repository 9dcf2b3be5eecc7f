"""What ``harness new`` writes: one commented file that runs as it is, and its test, to be changed into an algorithm or a task. No torch."""

from __future__ import annotations

import keyword
from pathlib import Path

from harness.errors import HarnessError, near
from harness.plugins import registry

PLURALS = {"algorithm": "algorithms", "task": "tasks"}
FORMS = ("pair", "unpaired", "list", "on-policy")  # of an algorithm: a loss per pair, per response or per list, a class that samples
STAND_IN = "NAME_OF_IT"  # in the written files' place of the name


def write(kind: str, name: str, folder: Path, form: str | None = None) -> list[Path]:
    """Write NAME.py and test_NAME.py into a folder and return them; nothing is overwritten.

    ``form`` is one of ``FORMS``, ``pair`` where it is None. Raises HarnessError for a kind, a form or a name that cannot be used.
    """
    if kind not in PLURALS:
        raise HarnessError(f"Cannot write a new {kind!r}.{near(kind, PLURALS)} Legal: {', '.join(PLURALS)}.")
    if form is not None and kind != "algorithm":
        raise HarnessError("--kind is of algorithms; a task has no kinds.")
    if form is not None and form not in FORMS:
        raise HarnessError(f"--kind {form!r} is unknown.{near(form, FORMS)} Legal: {', '.join(FORMS)}.")
    stem = _usable(kind, name)
    template = f"algorithm-{form or FORMS[0]}" if kind == "algorithm" else kind
    files = {folder / f"{stem}.py": template, folder / f"test_{stem}.py": f"test-{template}"}
    for path in files:
        if path.exists():
            raise HarnessError(f"{path} exists and is left as it is; choose another name, or move it away.")
    try:
        for path, source in files.items():
            path.write_text(_filled(source, stem), encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{folder}: cannot be written to: {error.strerror}.") from error
    return list(files)


def _usable(kind: str, name: str) -> str:
    """The name as a file's stem: one that Python can import, and that no plug-in known here has."""
    stem = registry.canonical(name)
    if not stem.isidentifier() or keyword.iskeyword(stem):
        raise HarnessError(f"The name {name!r} cannot be a file of Python's: letters, digits and underscores are, a digit not first.")
    registry.refuse_taken(PLURALS[kind], stem, None)
    return stem


def _filled(template: str, stem: str) -> str:
    """A template's text with the name in it; templates end in ``.txt``, for they are no modules of ours."""
    text = (Path(__file__).parent / f"{template}.py.txt").read_text(encoding="utf-8")
    return text.replace(STAND_IN, stem)
