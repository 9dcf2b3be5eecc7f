"""The one writer of a run's folder: its ``record.json`` is written last, so that a folder with one is finished. No torch."""

from __future__ import annotations

import json
import os
import shutil
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.errors import HarnessError
from harness.store.files import compressed, line, opened_alone, plain, shortened, sync_folder, write_bytes, write_json
from harness.store.lines import Row, rows
from harness.store.records import (
    DIGITS,
    KINDS,
    LOG,
    MARKS,
    METRICS,
    ON_THE_WAY,
    POLICY,
    RECORD,
    SAMPLES,
    SCHEMA,
    STATUSES,
    TEMPERATURE_ROWS,
    TEMPERATURES,
    TIMES,
)


class CellWriter:
    """The one writer of a run's folder. Used as a context: an exception inside leaves its traceback in log.txt and no record.

    Opening a folder starts the run anew: an older record is removed first, so that the folder counts as unfinished until ``finish``.
    """

    def __init__(self, folder: Path) -> None:
        """Open ``folder`` (made if absent) and drop what an earlier, killed or redone run left; HarnessError where another is writing."""
        self.folder = folder
        self._samples: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._log = opened_alone(folder / LOG)
        for name in (RECORD, SAMPLES, TIMES, TEMPERATURES, TEMPERATURE_ROWS, MARKS):
            (folder / name).unlink(missing_ok=True)
        for name in (POLICY, ON_THE_WAY):
            shutil.rmtree(folder / name, ignore_errors=True)
        sync_folder(folder)
        self._metrics = (folder / METRICS).open("w", encoding="utf-8", newline="\n")

    def __enter__(self) -> CellWriter:
        """The writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the streams; what was raised inside is noted and goes on."""
        if error is not None:
            self.note("".join(traceback.format_exception(kind, error, trace)).rstrip())
        self._metrics.close()
        self._log.close()

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one row to metrics.jsonl; it survives the end of the process, and after ``sync`` that of the machine."""
        self._metrics.write(line(row) + "\n")
        self._metrics.flush()

    def sync(self) -> None:
        """Make the rows logged so far durable; called at checkpoints."""
        self._metrics.flush()
        os.fsync(self._metrics.fileno())

    def samples(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep sample rows for samples.jsonl.gz, in the order given, and make the metrics so far durable.

        Numbers keep ``DIGITS`` significant digits: models compute in float32, and what is noise does not compress.
        """
        self._samples.extend(line(shortened(plain(row), DIGITS)) for row in rows)
        self.sync()

    def mark(self, row: Mapping[str, Any]) -> None:
        """Append what was measured at a mark to marks.jsonl, which lasts until ``finish``: record and samples then say all of it."""
        with (self.folder / MARKS).open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(line(row) + "\n")

    def written(self) -> tuple[list[Row], list[Row]]:
        """The sample rows and the rows of the log so far, as a reader will find them."""
        log = self.folder / METRICS
        return [json.loads(text) for text in self._samples], rows(log, log.read_bytes())

    def note(self, text: str) -> None:
        """Append a line to log.txt."""
        self._log.write(text + "\n")
        self._log.flush()

    @contextmanager
    def extra(self) -> Iterator[None]:
        """For what stands beside the record and can be measured again: an error inside is noted in log.txt and goes no further."""
        try:
            yield
        except Exception:
            self.note(traceback.format_exc())

    def finish(self, record: Mapping[str, Any], times: Mapping[str, Any]) -> None:
        """Write the samples, the times and, last, the record: the commit marker. The record's ``schema`` is filled in."""
        if record.get("kind") not in KINDS or record.get("status", "finished") not in STATUSES:
            raise HarnessError(f"A record needs a kind in {KINDS} and a status in {STATUSES}.")
        self.sync()
        write_bytes(self.folder / SAMPLES, compressed("".join(text + "\n" for text in self._samples)))
        write_json(self.folder / TIMES, times)
        write_json(self.folder / RECORD, {**record, "schema": SCHEMA})
        (self.folder / MARKS).unlink(missing_ok=True)
