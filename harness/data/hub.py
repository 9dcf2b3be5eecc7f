"""Data sets and models on the hub: a revision pinned to its commit, and the folder in the cache that holds the files of that commit.

Whatever goes wrong on the way is one line that says what to do. With ``HF_HUB_OFFLINE`` set, or once the files of a commit are there,
nothing is asked of the network but the list of files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

from harness.data import files
from harness.data.places import COMMIT
from harness.errors import HarnessError, near

Kind = Literal["dataset", "model"]
SAID: dict[str, str] = {"dataset": "data set", "model": "model"}


class File(NamedTuple):
    """A file of a repository: its name, its size in bytes, and the hash that the hub keeps of it (sha256 where it is large)."""

    name: str
    size: int
    hash: str


class Listing(NamedTuple):
    """What a commit of a repository holds, its licence as its card has it, and what has to be agreed to before it is given out."""

    commit: str
    files: tuple[File, ...]
    licence: str
    gated: str


def offline() -> bool:
    """Whether the hub may not be asked."""
    from huggingface_hub import constants

    return bool(constants.is_offline_mode())


def commit_of(repository: str, revision: str = "", kind: Kind = "dataset") -> str:
    """The commit that a revision is now, or was when it came into the cache where the hub may not be asked; a commit is itself."""
    if COMMIT.fullmatch(revision):
        return revision
    if not offline():
        return listing(repository, revision, kind).commit
    known = _cache(repository, kind) / "refs" / (revision or "main")
    if not known.is_file():
        _absent(repository, revision or "main", kind)
    return known.read_text(encoding="utf-8").strip()


def listing(repository: str, revision: str = "", kind: Kind = "dataset") -> Listing:
    """What a revision holds, asked of the hub."""
    from huggingface_hub import HfApi

    api = HfApi()
    ask: Any = api.dataset_info if kind == "dataset" else api.model_info
    try:
        info = ask(repository, revision=revision or None, files_metadata=True)
    except Exception as error:  # see _explain
        _explain(error, repository, revision or "main", kind)
    found = tuple(File(each.rfilename, each.size or 0, each.lfs.sha256 if each.lfs else each.blob_id or "") for each in info.siblings or ())
    licence = (info.card_data or {}).get("license") or "not said"
    return Listing(info.sha, found, licence if isinstance(licence, str) else ", ".join(licence), str(info.gated or ""))


def folder(repository: str, commit: str, names: Iterable[str], kind: Kind = "dataset") -> Path:
    """The folder of a commit in the cache with these files in it, downloaded where they are not; without names, as it is."""
    from huggingface_hub import hf_hub_download

    for name in names:
        try:
            hf_hub_download(repository, name, repo_type=kind, revision=commit, local_files_only=offline())
        except Exception as error:  # see _explain
            _explain(error, repository, commit, kind)
    place = _cache(repository, kind) / "snapshots" / commit
    if not place.is_dir():
        _absent(repository, commit, kind)
    return place


def split_folder(repository: str, commit: str, split: str, within: tuple[str, ...] = ()) -> tuple[Path, str]:
    """The folder of a data set's commit with one split's files in it, and the split; the only one or ``train`` where none is asked for."""
    if offline():
        return folder(repository, commit, ()), split
    chosen, names = of_split(repository, [each.name for each in listing(repository, commit).files], split, within)
    return folder(repository, commit, names), chosen


def of_split(repository: str, names: Sequence[str], split: str, within: tuple[str, ...] = ()) -> tuple[str, list[str]]:
    """The split and its files among the names that a repository holds; the only one or ``train`` where none is asked for."""
    data = [name for name in names if files.readable(name)]
    inside = [name for name in data if not within or name.startswith(tuple(f"{part}/" for part in within))]
    if not inside:
        _nothing(repository, within, data)
    by_split: dict[str, list[str]] = {}
    for name in inside:
        by_split.setdefault(files.split_of(Path(name)), []).append(name)
    chosen = files.choose(f"data set '{repository}'", list(by_split), split)
    return chosen, by_split[chosen]


def refuse_closed(repository: str, found: Listing, kind: Kind = "dataset") -> None:
    """HarnessError where the repository is gated and this machine's token has not been let in."""
    if not found.gated:
        return
    from huggingface_hub import HfApi

    try:
        HfApi().auth_check(repository, repo_type=kind)
    except Exception as error:  # see _explain
        _explain(error, repository, found.commit, kind)


def held(repository: str, commit: str, name: str, kind: Kind = "dataset") -> bool:
    """Whether the cache has a file of a commit."""
    return (_cache(repository, kind) / "snapshots" / commit / name).exists()


def remember(repository: str, revision: str, commit: str, kind: Kind = "dataset") -> None:
    """Let the cache know a branch or tag by the commit that was fetched, so that its name is understood where the hub is out of reach."""
    if COMMIT.fullmatch(revision):
        return
    known = _cache(repository, kind) / "refs" / (revision or "main")
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(commit, encoding="utf-8")


def _nothing(repository: str, within: tuple[str, ...], names: list[str]) -> NoReturn:
    there = sorted({name.split("/")[0] for name in names if "/" in name})
    what = f"in {', '.join(within)}; its folders are: {', '.join(there) or 'none'}" if within else "that can be read here"
    legal = "" if within else f"; legal: {', '.join(files.READERS)}. Its parquet copy may be there under --revision refs/convert/parquet"
    raise HarnessError(f"the data set '{repository}' has no data file {what}{legal}.{near(within[0] if within else '', there)}")


def _cache(repository: str, kind: Kind) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"{kind}s--{repository.replace('/', '--')}"


def _explain(error: Exception, repository: str, revision: str, kind: Kind) -> NoReturn:
    """One line for each way in which the hub can refuse; what the client raises of a network has another type in every version of it."""
    from huggingface_hub import constants, errors

    said, page = SAID[kind], f"{constants.ENDPOINT}/{'datasets/' * (kind == 'dataset')}{repository}"
    if isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError) and offline():
        _absent(repository, revision, kind)
    if isinstance(error, errors.GatedRepoError):
        todo = f"agree to its terms at {page} and give this machine your token ('hf auth login', or HF_TOKEN)"
        raise HarnessError(f"the {said} '{repository}' is gated: {todo}.") from error
    if isinstance(error, errors.RevisionNotFoundError):
        legal = "a branch, a tag or a commit is wanted" + near(revision, _revisions(repository, kind))
        raise HarnessError(f"the {said} '{repository}' has no revision '{revision}'; {legal}") from error
    if isinstance(error, errors.RepositoryNotFoundError):
        todo = f"if it is private, give this machine a token that may read it (HF_TOKEN); its page would be {page}"
        raise HarnessError(f"there is no {said} '{repository}', neither here nor on the hub; {todo}.") from error
    if isinstance(error, errors.HFValidationError):
        raise HarnessError(f"{repository!r} is no id on the hub: {str(error).splitlines()[0]}") from error
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise HarnessError(f"the {said} '{repository}' at {revision} cannot be had from {constants.ENDPOINT}: {reason}") from error


def _revisions(repository: str, kind: Kind) -> list[str]:
    """The branches and tags that a repository has, or none where it does not say."""
    from huggingface_hub import HfApi

    try:
        refs = HfApi().list_repo_refs(repository, repo_type=kind)
    except Exception:  # a hint is not worth a second error
        return []
    return [ref.name for ref in (*refs.branches, *refs.tags)]


def _absent(repository: str, revision: str, kind: Kind) -> NoReturn:
    from huggingface_hub import constants

    option = " --repo-type dataset" if kind == "dataset" else ""
    command = f"hf download {repository}{option} --revision {revision}"
    place = Path(os.path.relpath(_cache(repository, kind), constants.HF_HUB_CACHE))
    raise HarnessError(
        f"the {SAID[kind]} '{repository}' at {revision} is not in the cache, and HF_HUB_OFFLINE forbids asking the hub: where there is a "
        f"network run 'harness fetch' or '{command}', and copy the folder '{place}' into {constants.HF_HUB_CACHE}."
    )
