"""Studies in one file: the same files give the same bytes, and what is packed can be reported on as it is."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from harness.errors import HarnessError
from harness.store import ahead

SUFFIXES = (".zip", ".tar.gz", ".tar.xz")
PROGRESS = ".whole"  # after the name of a folder: which of its files are there, in the order in which they come
WINDOW = 1 << 28  # bytes at most that xz looks back: over the runs of a study, which share prompts, references and opponents


def packed(files: Mapping[str, bytes], name: str) -> bytes:
    """The archive's bytes: files by name, no times, no owners.

    In a .tar.xz what was compressed file by file is compressed as a whole instead.
    """
    if name.endswith(".zip"):
        return _zipped(files)
    if name.endswith(".tar.gz"):
        return gzip.compress(_taped(files), compresslevel=6, mtime=0)
    return _pressed(_taped({path: _loose(path, content) for path, content in files.items()}))


def _pressed(tape: bytes) -> bytes:
    """The bytes as xz, by settings for text: 16.7 MB for 354 MB of rows of a study where its highest preset gives 18."""
    window = min(WINDOW, 1 << max(16, (len(tape) - 1).bit_length()))  # the encoder holds eleven times as much
    text = {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": window, "lc": 4, "lp": 0, "pb": 0}
    return lzma.compress(tape, format=lzma.FORMAT_XZ, filters=[text])


def _loose(path: str, content: bytes) -> bytes:
    """A gzip file as one that only wraps what it holds."""
    return gzip.compress(gzip.decompress(content), compresslevel=0, mtime=0) if path.endswith(".gz") else content


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path, content in sorted(files.items()):
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.external_attr, entry.create_system, entry.compress_type = 0o644 << 16, 3, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def _taped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tape:
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tape.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


Do = Callable[[], None]
Start = Callable[[Do, Path], Do]  # takes what is to be done and gives what waits for it


def at_once(do: Do, progress: Path) -> Do:
    """Do it here and now; nothing is left to wait for."""
    do()
    return lambda: None


@contextmanager
def unpacked(paths: Sequence[Path], start: Start = at_once) -> Iterator[list[Path]]:
    """The folders among the paths as they are and the archives as folders, which are gone when the block ends.

    ``start`` begins to unpack an archive, in another process perhaps; a file named to it as well gets a line, a path in JSON, for every
    file that is there as a whole.
    """
    with ExitStack() as stack:
        stack.callback(ahead.forget)
        folders, waits = [*paths], []
        for number, path in enumerate(paths):
            if packs(path):
                folder = folders[number] = _folder(path, Path(stack.enter_context(tempfile.TemporaryDirectory())))
                progress = folder.with_name(folder.name + PROGRESS)
                waits.append(start(partial(_unpack, path, folder, progress), progress))
        for wait in waits:
            wait()
        yield folders


def packs(path: Path) -> bool:
    """Whether this is an archive of studies, by its name."""
    return path.is_file() and path.name.endswith(SUFFIXES)


def _folder(path: Path, scratch: Path) -> Path:
    """Where an archive's content goes: a folder that has its name."""
    return scratch / next(path.name.removesuffix(suffix) for suffix in SUFFIXES if path.name.endswith(suffix))


def _unpack(path: Path, folder: Path, progress: Path) -> None:
    """Write the archive's content into a folder; nothing outside of it is written, whatever the archive says."""
    try:
        _extract(path, folder, progress)
    except (OSError, EOFError, ValueError, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise HarnessError(f"{path} cannot be unpacked: {error}.") from error


def _extract(path: Path, folder: Path, progress: Path) -> None:
    if path.suffix == ".zip":
        shutil.unpack_archive(path, folder)
    elif hasattr(tarfile, "data_filter"):
        with tarfile.open(path) as tape, progress.open("w", buffering=1, encoding="utf-8") as told:
            for member in tape:
                tape.extract(member, folder, filter="data")
                told.write(json.dumps(str(folder / member.name)) + "\n")
    else:
        raise HarnessError(f"{path}: this Python cannot unpack it safely (3.11.4 can); unpack it yourself and report on the folder.")
