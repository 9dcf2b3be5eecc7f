"""``--report-to``: what runs log and record, written for TensorBoard and Weights & Biases as well. Optional packages, loaded late.

A tracker is a listener of ``following``: it reads rows and records as any reader would, and no run depends on it. Records on disk stay
the result.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, near
from harness.report.escape import visible
from harness.store.records import Row
from harness.watching.following import Closing

OUTSIDE = ("step", "phase", "share")  # of a row: where it stands, not what was measured


def check(names: Sequence[str]) -> None:
    """HarnessError for an unknown name, and for one whose package is not installed."""
    for name in names:
        if name not in KINDS:
            raise HarnessError(f"--report-to {name}: unknown tracker.{near(name, KINDS)} Legal: {', '.join(KINDS)}.")
        if importlib.util.find_spec(name) is None:
            raise HarnessError(
                f"--report-to {name}: the package {name} is not installed. Install the extra: pip install 'preference-harness[{name}]'."
            )


def opened(names: Sequence[str], results: Path, study: str) -> list[Closing]:
    """The trackers of these names, writing below ``results``; a study is a folder or a group."""
    check(names)
    return [KINDS[name](results, study) for name in dict.fromkeys(names)]


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a row that were measured, by name."""
    known = {name: value for name, value in row.items() if name not in OUTSIDE and type(value) in (int, float)}
    return {name: float(value) for name, value in known.items() if math.isfinite(value)}


def measured(mark: Mapping[str, Any]) -> dict[str, float]:
    """A mark's metrics, with ``_lower`` and ``_upper`` where they have bounds, by name."""
    found: dict[str, float] = {}
    for name, interval in (mark.get("metrics") or {}).items():
        found |= numbers({f"{name}{end}": interval.get(key) for end, key in (("", "value"), ("_lower", "lower"), ("_upper", "upper"))})
    return found


def spoken(mark: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(prompt, response, response of the reference) of a mark's samples, with what would act on a terminal or a browser made visible."""
    for sample in mark.get("samples") or ():
        yield tuple(visible(sample.get(name, "")) for name in ("prompt", "response", "sft_response"))  # type: ignore[misc]


def alarmed(record: Mapping[str, Any]) -> list[str]:
    """The names of the alarms in a record, as text."""
    return [visible(each.get("name", ""), lines=False) for each in record.get("alarms") or ()]


class TensorBoard:
    """Event files below ``RESULTS/tensorboard/STUDY``, a folder per run."""

    def __init__(self, results: Path, study: str) -> None:
        """Nothing is written before a run logs."""
        self._folder = results / "tensorboard" / study
        self._writers: dict[str, Any] = {}
        self._steps: dict[str, int] = {}

    def row(self, cell: str, row: Row) -> None:
        """The row's numbers at its step, as train/NAME."""
        self._steps[cell] = int(row["step"])
        self._add(cell, {f"train/{name}": value for name, value in numbers(row).items()})

    def mark(self, cell: str, mark: Row) -> None:
        """Metrics with their bounds as marks/NAME, samples and alarms as text, at the step of the mark."""
        self._steps[cell] = int(mark["step"])
        self._add(cell, {f"marks/{name}": value for name, value in measured(mark).items()})
        for number, texts in enumerate(spoken(mark)):
            said = zip(("Prompt", "Response", "SFT reference"), texts, strict=True)
            self._say(cell, f"samples/{number}", "\n\n".join(f"{title}:\n\n{_quoted(text)}" for title, text in said))
        if mark.get("alarms"):
            self._say(cell, "alarms", "\n\n".join(visible(each.get("said", ""), lines=False) for each in mark["alarms"]))

    def end(self, cell: str, record: Row) -> None:
        """The status and the alarms' names; the run's file is closed."""
        self._say(cell, "ended", f"{record.get('status')}; alarms: {', '.join(alarmed(record)) or 'none'}")
        self._writers.pop(cell).close()

    def close(self) -> None:
        """Close the files of runs that did not end."""
        while self._writers:
            self._writers.popitem()[1].close()

    def _add(self, cell: str, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._write(cell, summary)

    def _say(self, cell: str, tag: str, text: str) -> None:
        from tensorboard.plugins.text.summary_v2 import text_pb

        self._write(cell, text_pb(tag, text))

    def _write(self, cell: str, summary: Any) -> None:
        import time

        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if cell not in self._writers:
            self._writers[cell] = EventFileWriter(str(self._folder / cell), flush_secs=5)
        self._writers[cell].add_event(Event(wall_time=time.time(), step=self._steps.get(cell, 0), summary=summary))


def _quoted(text: str) -> str:
    """The text as an indented block, in which Markdown has no meaning."""
    return "\n".join(f"    {line}" for line in text.splitlines())


class WeightsAndBiases:
    """Runs of the project ``preference-harness`` below ``RESULTS/wandb``, grouped by study; offline unless WANDB_MODE says otherwise."""

    def __init__(self, results: Path, study: str) -> None:
        """HarnessError where WANDB_MODE is ``online`` and nobody is logged in."""
        import wandb

        self._folder, self._study = results.absolute(), study
        self._mode = os.environ.get("WANDB_MODE", "offline")
        self._runs: dict[str, Any] = {}
        if self._mode == "online":
            try:
                entered = wandb.login()
            except Exception as error:
                raise HarnessError(f"--report-to wandb: {error}; 'wandb login' first, or leave WANDB_MODE out to write offline.") from error
            if not entered:
                raise HarnessError("--report-to wandb: nobody is logged in; 'wandb login' first, or leave WANDB_MODE out to write offline.")

    def row(self, cell: str, row: Row) -> None:
        """The row's numbers at its step, as train/NAME."""
        self._run(cell).log({f"train/{name}": value for name, value in numbers(row).items()}, step=int(row["step"]))

    def mark(self, cell: str, mark: Row) -> None:
        """Metrics with their bounds as marks/NAME and samples as a table, at the step of the mark."""
        import wandb

        found: dict[str, Any] = {f"marks/{name}": value for name, value in measured(mark).items()}
        if said := [list(texts) for texts in spoken(mark)]:
            found[f"samples/{mark['mark']:g}"] = wandb.Table(columns=["prompt", "response", "SFT reference"], data=said)
        self._run(cell).log(found, step=int(mark["step"]))

    def end(self, cell: str, record: Row) -> None:
        """What the run was and what became of it; its settings, status and alarms are the run's configuration and summary."""
        run = self._run(cell)
        facts = ("algorithm", "settings", "seed", "task", "model", "budget", "fingerprint", "study")
        run.config.update({name: record[name] for name in facts if name in record})
        run.summary.update({"status": record.get("status"), "alarms": " ".join(alarmed(record)) or "none"})
        self._runs.pop(cell).finish(exit_code=int(record.get("status") == "failed"))

    def close(self) -> None:
        """Finish runs that did not end, as failed."""
        while self._runs:
            self._runs.popitem()[1].finish(exit_code=1)

    def _run(self, cell: str) -> Any:
        if cell not in self._runs:
            import wandb

            quiet = wandb.Settings(console="off", silent=True, save_code=False)
            named = {"project": "preference-harness", "group": self._study, "name": cell, "dir": str(self._folder)}
            self._runs[cell] = wandb.init(**named, mode=self._mode, reinit="create_new", settings=quiet)
        return self._runs[cell]


KINDS: Mapping[str, Any] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
