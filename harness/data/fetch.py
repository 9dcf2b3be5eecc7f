"""Everything of the hub that an experiment needs, brought into the cache at pinned commits, so that its grid runs without a network.

A login node fetches and writes a lock file beside the experiment; compute nodes share its cache and run with ``HF_HUB_OFFLINE=1``.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from harness.data import hub, pinning
from harness.data.adapters import adapter_of
from harness.data.files import readable
from harness.data.places import ID, Place, parse
from harness.data.suites import reading
from harness.errors import HarnessError
from harness.planning import experiment

MODELS = ("model", "reference", "judge", "safety_detectors")  # keys of an experiment under which a hub id is a model
SUITES = "safety_suites"  # words, each of which may stand for repositories
OF_MODEL = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")  # no code, no pickles
Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """A repository of the hub that an experiment names; of a data set one split (the only one or ``train``) of some folders.

    ``suite`` is the word of a safety suite that is read from it, by ``datasets``, which finds its files and keeps them as it reads them.
    """

    kind: hub.Kind
    repository: str
    revision: str = ""
    split: str = ""
    within: tuple[str, ...] = ()
    suite: str = ""

    @property
    def key(self) -> str:
        """What the lock file knows it by."""
        return pinning.key(self.kind, self.repository, self.revision)


@dataclass(frozen=True)
class Found:
    """What is wanted, the commit that it is at, and the files of that commit that are needed."""

    wanted: Wanted
    listing: hub.Listing
    files: tuple[hub.File, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(each.size for each in self.files)


def fetch(
    file: Path, say: Say, *, models: Sequence[str] = (), datasets: Sequence[str] = (), update: bool = False, dry: bool = False
) -> Path:
    """Download what the experiment of ``file`` names, and ``models`` and ``datasets`` beside; the path of the lock file comes back.

    Commits are those of the lock file where there is one, unless ``update``; ``dry`` says what there is and downloads nothing. Nothing is
    downloaded before every repository was found open and the disk large enough. Raises HarnessError naming every one that is not.
    """
    if hub.offline():
        raise HarnessError("HF_HUB_OFFLINE is set, and fetching asks the hub; unset it on the machine that has a network.")
    lock = pinning.lock_of(file)
    known = pinning.read(lock) if lock.is_file() and not update else {}
    every = wanted(_named(file), models, datasets)
    if not every:
        raise HarnessError(f"{file}: names nothing of the hub: data, model and judge are local or the task's own, so nothing is to fetch.")
    found = _listed(every, known)
    for each in found:
        say(_line(each))
    _room(found)
    if dry:
        return lock
    for each in found:
        _download(each, say)
    _write(lock, file, {**known, **{each.wanted.key: _entry(each) for each in found}})
    say(f"Lock file: {lock}. Where there is no network: HF_HUB_OFFLINE=1 harness compare {file}, with this cache ({_cache()}).")
    return lock


def _named(file: Path) -> dict[str, Any]:
    """What the file says: paths of data relative to it, ids of models as they were typed unless a folder of that name is beside it."""
    values = experiment.read(file)
    typed = tomllib.loads(file.read_text(encoding="utf-8"))
    return {**values, **{key: typed[key] for key in MODELS if key in typed and not (file.parent / str(typed[key])).is_dir()}}


def wanted(values: Mapping[str, Any], models: Sequence[str] = (), datasets: Sequence[str] = ()) -> list[Wanted]:
    """The repositories that an experiment's values name, each once; ``models`` and ``datasets`` are further ids."""
    found = [each for text in (*_texts(values.get("data")), *datasets) for each in _datasets(text)]
    found += [each for text in _texts(values.get(SUITES)) for each in _suite(text)]
    found += [each for text in (*(text for key in MODELS for text in _texts(values.get(key))), *models) for each in _model(text)]
    return list(dict.fromkeys(found))


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [each for each in value or () if isinstance(each, str)]


def _suite(text: str) -> Iterator[Wanted]:
    word = reading.parse(text)
    for part in reading.parts_of(word):
        yield Wanted("dataset", part.id, word.revision or part.revision, suite=text)


def _datasets(text: str) -> Iterator[Wanted]:
    for place in parse(text):
        if place.on_hub:
            known = adapter_of(place.repository)
            within = (place.folder,) if place.folder else (known.folders if known else ())
            revision = place.revision or (known.revision if known else "")
            yield Wanted("dataset", place.repository, revision, place.split or (known.split if known else ""), within)


def _model(text: str) -> Iterator[Wanted]:
    """A hub id of a model: ``owner/name``, with ``@revision`` or ``#label`` after it; a folder and a preset are none."""
    where, _, revision = text.partition("#")[0].partition("@")
    if ID.fullmatch(where) and where.count("/") == 1 and Place(where).on_hub and not where.startswith("http"):
        yield Wanted("model", where, revision)


def _listed(every: Sequence[Wanted], known: Mapping[str, Any]) -> list[Found]:
    """What each repository holds; every one that cannot be had is named, not the first alone."""
    found: list[Found] = []
    closed: list[str] = []
    for each in every:
        locked = known.get(each.key, {}).get("commit", each.revision)
        try:
            listing = hub.listing(each.repository, locked, each.kind)
            hub.refuse_closed(each.repository, listing, each.kind)
            found.append(Found(each, listing, tuple(_needed(each, listing))))
        except HarnessError as error:
            closed.append(str(error))
    if closed:
        raise HarnessError(" Also: ".join(closed))
    return found


def _needed(each: Wanted, listing: hub.Listing) -> list[hub.File]:
    if each.kind == "model":
        return [file for file in listing.files if any(fnmatch(file.name, pattern) for pattern in OF_MODEL) and "/" not in file.name]
    if each.suite:
        return [file for file in listing.files if readable(file.name)]
    names = hub.of_split(each.repository, [file.name for file in listing.files], each.split, each.within)[1]
    return [file for file in listing.files if file.name in names]


def _line(each: Found) -> str:
    what = f"{hub.SAID[each.wanted.kind]} {each.wanted.repository} at {each.listing.commit[:12]}"
    gated = ", gated, and this machine's token may read it" if each.listing.gated else ""
    what += f" (safety suite {each.wanted.suite})" if each.wanted.suite else ""
    return f"{what}: {_bytes(each.size)} in {len(each.files)} files, licence: {each.listing.licence}{gated}"


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _room(found: Sequence[Found]) -> None:
    """HarnessError where the disk of the cache is too small for what is not there yet."""
    there = next(path for path in (_cache(), *_cache().parents) if path.exists())
    missing = sum(file.size for each in found for file in each.files if not _held(each, file))
    free = shutil.disk_usage(there).free
    if missing > free:
        raise HarnessError(
            f"{_bytes(missing)} are to be downloaded and {there} has {_bytes(free)} free; make room, or set HF_HOME elsewhere."
        )


def _held(each: Found, file: hub.File) -> bool:
    return hub.held(each.wanted.repository, each.listing.commit, file.name, each.wanted.kind)


def _download(each: Found, say: Say) -> None:
    if each.wanted.suite:
        rows = reading.rows_of(reading.parse(each.wanted.suite)._replace(revision=each.listing.commit))
        say(f"safety suite {each.wanted.suite}: here, {len(rows.rows)} prompts")
        return
    hub.folder(each.wanted.repository, each.listing.commit, [file.name for file in each.files], each.wanted.kind)
    hub.remember(each.wanted.repository, each.wanted.revision, each.listing.commit, each.wanted.kind)
    say(f"{each.wanted.repository}: here")


def _entry(each: Found) -> dict[str, Any]:
    wanted, listing = each.wanted, each.listing
    held = {file.name: {"bytes": file.size, "hash": file.hash} for file in each.files}
    about = {"commit": listing.commit, "licence": listing.licence, "gated": listing.gated, "bytes": each.size, "files": held}
    return {"kind": wanted.kind, "repository": wanted.repository, "revision": wanted.revision or "main", **about}


def _write(lock: Path, file: Path, entries: Mapping[str, Any]) -> None:
    from harness.store.records import write_json

    write_json(lock, {"version": pinning.VERSION, "experiment": file.name, "entries": dict(sorted(entries.items()))})


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
