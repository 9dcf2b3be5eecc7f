"""``harness bundle``: records and figures in one archive, for a reviewer who may not know whose they are. The same records, the same bytes.

Logs, policies and the samples of trials, which choose settings and are no result, stay behind. An anonymous bundle has paths, remotes,
addresses and hosts taken out of what the harness itself wrote, its reports made anew from that, and is then searched as a whole; where a
trace is left, nothing is written.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.report import combining, page
from harness.sharing import traces, withheld
from harness.store import archives
from harness.store.files import write_bytes, write_json
from harness.store.records import EXPERIMENT, RECORD, SAMPLES, TEMPERATURE_ROWS

ROOMS = ("cells", "references", "frontiers", "trials")
KEPT = (".json", ".jsonl", ".jsonl.gz")  # of a run's folder: logs are full of paths, policies are large
SAID_BY_MODELS = (SAMPLES, TEMPERATURE_ROWS)  # never rewritten: what a model said is the result
SHOWN = 5  # traces that a refusal names


def write(root: Path, out: Path | None, *, anonymous: bool, hide: Sequence[str] = (), reports: bool = True, texts: bool = True) -> Path:
    """Pack every study at or directly below a folder; the archive's path comes back.

    ``hide`` are further words that an anonymous bundle may not hold; without ``reports`` records alone are packed, which give the reports
    again; without ``texts`` what data and models said is left out of samples. HarnessError where there is no study, the archive's name has
    another suffix than those of ``archives``, or a trace is left: the message names the file and the string.
    """
    file = out or Path(f"{root.resolve().name}{'-anonymous' if anonymous else ''}.zip")
    if not file.name.endswith(archives.SUFFIXES):
        raise HarnessError(f"--out {file}: an archive ends in {' or '.join(archives.SUFFIXES)}.")
    write_bytes(file, archives.packed(contents(root, anonymous=anonymous, hide=hide, reports=reports, texts=texts), file.name))
    return file


def contents(root: Path, *, anonymous: bool, hide: Sequence[str] = (), reports: bool = True, texts: bool = True) -> dict[str, bytes]:
    """What a bundle holds, by path; HarnessError where a trace is left in the records or in the reports that are made of them."""
    own = [*traces.own(root), *hide] if anonymous else []
    with tempfile.TemporaryDirectory() as scratch:
        copies = {Path(scratch) / study.name: study for study in combining.below(root)}
        cleaned = {trace for copy, study in copies.items() for trace in _copied(study, copy, anonymous=anonymous, texts=texts)}
        if anonymous:
            _refuse(list(_left(_files(Path(scratch)), own, cleaned)))  # before reports are made, which takes longer
        for copy in copies if reports else ():
            page.write(copy)
        files = _files(Path(scratch))
    if anonymous:
        _refuse(list(_left(files, own, cleaned)))
    return files


def _files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def _copied(study: Path, copy: Path, *, anonymous: bool, texts: bool) -> set[str]:
    """Copy a study's records; what was taken out of them comes back."""
    cleaned: set[str] = set()
    for path in _sources(study):
        target = copy / path.relative_to(study)
        if anonymous and path.name not in SAID_BY_MODELS:
            cleaned |= _cleaned(path, target)
        else:
            kept = texts or path.name not in SAID_BY_MODELS
            write_bytes(target, path.read_bytes() if kept else withheld.withheld(path, path.read_bytes()))
    return cleaned


def _sources(study: Path) -> Iterator[Path]:
    yield study / EXPERIMENT
    for room in ROOMS:
        for folder in sorted((study / room).glob("*/")):
            if (folder / RECORD).exists():
                kept = (path for path in folder.iterdir() if path.is_file() and path.name.endswith(KEPT))
                yield from sorted(path for path in kept if room != "trials" or path.name != SAMPLES)


def _cleaned(path: Path, target: Path) -> set[str]:
    """Write a JSON file without traces; what was taken out comes back. Lines are cleaned one by one, a torn last one is left away."""
    taken: set[str] = set()
    try:
        if path.suffix == ".json":
            write_json(target, traces.cleaned(json.loads(path.read_text(encoding="utf-8")), taken))
            return taken
        text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
        rows = [json.dumps(traces.cleaned(json.loads(row), taken), sort_keys=True, ensure_ascii=False) for row in text.split("\n")[:-1]]
    except (OSError, ValueError, EOFError) as error:
        raise HarnessError(f"{path.parent.name}/{path.name} cannot be read, so it cannot be made anonymous: {error}.") from error
    content = "".join(f"{row}\n" for row in rows).encode()
    write_bytes(target, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return taken


def _left(files: Mapping[str, bytes], own: Sequence[str], cleaned: set[str]) -> Iterator[tuple[str, str]]:
    """(file, string) of every trace in the files or their names: one's own names anywhere, what was taken out, and rooted paths."""
    search = traces.Search(own, cleaned)
    for name, content in files.items():
        yield from ((name, found) for found in search.in_name(name))
        raw = gzip.decompress(content) if name.endswith(".gz") else content
        said = name.rpartition("/")[2] in SAID_BY_MODELS
        yield from ((name, found) for found in search.in_text(raw.decode("utf-8", "replace"), said_by_models=said))


def _refuse(left: Sequence[tuple[str, str]]) -> None:
    if left:
        apart = list(dict.fromkeys(left))
        told = "; ".join(f"{name} holds {found!r}" for name, found in apart[:SHOWN])
        more = f"; and {len(apart) - SHOWN} more" if len(apart) > SHOWN else ""
        raise HarnessError(f"Not anonymous, so nothing was packed: {told}{more}. Take it out of the records, or leave the run out.")
