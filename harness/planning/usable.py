"""Which of the algorithms that were named can be planned: a file that cannot is left out with a reason, and the others go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.planning import settings
from harness.plugins import registry


def usable(flags: Mapping[str, Any], written: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The flags without the files that cannot be planned nor what ``--set`` says of them, and why each is left out, by its name as typed.

    A file is left out that is no Python, binds no algorithm, takes the name of a built-in one or declares what is not legal, whether it
    is named by its path or by the name that a wheel gives it; and one that needs a package which is not installed. A name that nobody
    knows and a path where no file is are typing errors and stay, and so does everything where nothing could be compared.
    """
    names: Sequence[str] = flags.get("algorithms") or list(written.get("algorithms", {}))
    left = {name: reason for name in names if (Path(name).is_file() or registry.exists("algorithms", name)) and (reason := _problem(name))}
    kept = [name for name in names if name not in left]
    if not left or not kept:
        return dict(flags), {}
    stems = {registry.canonical(Path(name).stem) for name in left} - {registry.canonical(Path(name).stem) for name in kept}
    asked = [text for text in flags.get("set", ()) if registry.canonical(Path(settings.parse_flag(text)[0]).stem) not in stems]
    return {**flags, "algorithms": kept, **({"set": asked} if "set" in flags else {})}, left


def _problem(path: str) -> str:
    """Why a file cannot be planned, in one line; an empty string where it can."""
    try:
        settings.legal_grid(registry.find("algorithms", path))
    except HarnessError as error:
        return str(error)
    return ""
