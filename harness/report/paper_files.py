"""``files.json``: what a paper's folder holds with the sha256 of each; a figure that is no longer drawn cannot stay and be cited."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from harness.store.records import write_json

LIST = "files.json"


def listed(out: Path, made: Mapping[str, bytes]) -> None:
    """List the files just made; those that were listed before and that these records give no more are removed."""
    known = _known(out)
    stale = {name for name in known if _stale(name, made)}
    for name in stale:
        if (out / name).resolve().is_relative_to(out.resolve()):
            (out / name).unlink(missing_ok=True)
    kept = {name: digest for name, digest in known.items() if name not in stale}
    write_json(out / LIST, kept | {name: hashlib.sha256(content).hexdigest() for name, content in made.items()})


def _stale(name: str, made: Mapping[str, bytes]) -> bool:
    """A figure without numbers where figures were made, or a table where tables were; what was not asked for is as good as before."""
    room = name.partition("/")[0]
    twin = str(Path(name).with_suffix(".csv")) if room == "figures" else name
    return room in ("figures", "tables") and twin not in made and any(each.startswith(f"{room}/") for each in made)


def _known(out: Path) -> dict[str, str]:
    """What was listed before; nothing where there is no list that can be read."""
    try:
        found = json.loads((out / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in found.items()} if isinstance(found, dict) else {}
