"""Traces of people and machines in text: paths, remotes, addresses, hosts; what to take out and what to look for afterwards."""

from __future__ import annotations

import getpass
import re
import socket
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

# A path from the root of a file system, of a home, or of a drive; not the rest of a URL, of a fraction or of a closing tag.
PATH = re.compile(r"(?<![\w.:/<~-])(?:/(?:[\w.@+=-]+/)+[\w.@+=-]*|~[\w-]*/[\w./@+=-]+|[A-Za-z]:\\[^\s\"']+)")
ROOTED = re.compile(
    r"(?<![\w.:/<-])/(?:home|Users|root|mnt|data|datasets|scratch|tmp|var|opt|srv|work|workspace|media|private|nfs|gpfs|lustre|usr)/[\w./@+=-]+"
)
PARTS = re.compile(r"[/\\]")
REMOTE = re.compile(r"(?:\bgit@|\bssh://|\bgit://|\bfile://)[^\s\"']+|\bhttps?://[^\s/\"']*(?:git|bitbucket|codeberg|huggingface)[^\s\"']*")
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
URL = re.compile(r"\bhttps?://([^\s/\"':]+)[^\s\"')]*")
PUBLIC = ("arxiv.org", "doi.org", "openreview.net", "aclanthology.org", "proceedings.mlr.press", "www.w3.org")  # works, not people
COMMON = {"root", "user", "users", "admin", "ubuntu", "debian", "runner", "nobody", "docker", "jovyan", "localhost", "test", "home"}
SHORTEST = 3  # letters of a name below which it would be found everywhere


def cleaned(value: Any, taken: set[str]) -> Any:
    """A value of JSON's types without traces in its texts, keys included; what was taken out is added to ``taken``.

    A path is cut to its last part, as ``<path>/posts.jsonl``; the others leave a word that says what stood there.
    """
    if isinstance(value, str):
        return _without(value, taken)
    if isinstance(value, dict):
        return {_without(key, taken): cleaned(item, taken) for key, item in value.items()}
    return [cleaned(item, taken) for item in value] if isinstance(value, list) else value


def _without(text: str, taken: set[str]) -> str:
    def replaced(found: re.Match[str], by: str) -> str:
        taken.add(found[0])
        return by

    text = REMOTE.sub(lambda found: replaced(found, "<remote>"), text)
    text = ADDRESS.sub(lambda found: replaced(found, "<address>"), text)
    text = URL.sub(lambda found: found[0] if found[1].lower() in PUBLIC else replaced(found, "<url>"), text)
    return PATH.sub(lambda found: replaced(found, f"<path>/{PARTS.split(found[0].rstrip('/'))[-1]}"), text)


def own(folder: Path) -> list[str]:
    """What this machine and its user are called: login, home, host, and what git knows of them and of the folder's remotes."""
    host = socket.gethostname()
    names = [getpass.getuser(), Path.home().name, str(Path.home()), host, host.partition(".")[0], socket.getfqdn()]
    names += _git(folder, "config", "--get-regexp", r"^user\.(name|email)$")
    names += _git(folder, "config", "--get-regexp", r"^remote\..*\.url$")
    return sorted({name for name in names if len(name) >= SHORTEST and name.lower() not in COMMON and name != "/root"})


def _git(folder: Path, *arguments: str) -> list[str]:
    """The values of git's answer; none where there is no git or no repository."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.partition(" ")[2].strip() for line in done.stdout.splitlines()]


class Search:
    """Looks for names as whole words, for strings that were taken out elsewhere, and for rooted paths."""

    def __init__(self, names: Collection[str], taken: Collection[str]) -> None:
        """``names`` count in any text, ``taken`` and paths only in what no model said."""
        self._names = _any_of(names)
        self._taken = _any_of(taken)

    def in_name(self, name: str) -> Iterator[str]:
        """Traces in the name of a file."""
        yield from _found(self._names, name)

    def in_text(self, text: str, *, said_by_models: bool) -> Iterator[str]:
        """Traces in a file's text, each once."""
        found = list(_found(self._names, text))
        if not said_by_models:
            found += [*_found(self._taken, text), *(match[0] for match in ROOTED.finditer(text))]
        yield from dict.fromkeys(found)


def _any_of(words: Collection[str]) -> re.Pattern[str] | None:
    each = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True) if word)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{each})(?![A-Za-z0-9])") if each else None


def _found(pattern: re.Pattern[str] | None, text: str) -> Iterator[str]:
    if pattern is not None:
        yield from (match[0] for match in pattern.finditer(text))
