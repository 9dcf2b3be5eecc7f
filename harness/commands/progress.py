"""The live view of the grid: a table on a terminal, plain lines anywhere else. What a model wrote is shown with its controls escaped."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from harness.report.escape import visible
from harness.watching import monitored

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

EVERY = 0.1  # share of a stage between two plain lines
BAR = 20  # characters of a full bar
BELOW = 3  # marks and alarms, the latest, that stand under a terminal's table


@dataclass
class _Row:
    """What is known of one cell. ``began`` and ``offset`` are the time and the share at the stage's first update."""

    stage: str
    share: float
    loss: float | None
    began: float
    offset: float
    printed: float = 0.0
    status: str = ""


class GridView:
    """Shows cells as they run: stage, share of the budget, loss, log-probs, time left, and marks. Use it as a context manager.

    ``total`` is the number of cells and shared stages to come. The stream decides the form: a terminal gets one live table, any other a
    line where a stage starts or ends and about every tenth of it. Threads of one process may call it; what is said of a cell after its end
    is dropped. It listens to what runs write (``following``): log-probs of the batch, numbers and samples of marks, and alarms, once each.
    """

    def __init__(self, total: int, *, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._total = total
        self._rows: dict[str, _Row] = {}
        self._logged: dict[str, Mapping[str, Any]] = {}
        self._below: list[list[str]] = []
        self._alarms: set[tuple[str, str]] = set()
        self._live: Live | None = None
        self._started = time.monotonic()
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream, markup=False, highlight=False)
            self._live = Live(self._shown(), console=console, refresh_per_second=4, transient=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.update(self._shown())
            self._live.stop()
            self._live = None

    def update(self, cell: str, stage: str, share: float, loss: float | None = None) -> None:
        """Say where a cell is: ``share`` in [0, 1] of its stage, or of the budget while it trains; ``loss`` where there is one."""
        with self._lock:
            now, row = time.monotonic(), self._rows.get(cell)
            if row is not None and row.status:
                return
            if row is None or row.stage != stage:
                row = self._rows[cell] = _Row(stage, share, loss, now, share, printed=share)
                self._line(f"{cell}: {stage}")
            row.share, row.loss = share, loss
            if share - row.printed >= EVERY - 1e-9:
                row.printed = share
                self._line(f"{cell}: {stage} {share:.0%}{_loss(loss)}{monitored.inline(self._logged.get(cell, {}))}, {_left(row, now)}")
            self._refresh()

    def finish(self, cell: str, status: str) -> None:
        """Say how a cell ended: ``finished``, ``diverged``, ``failed``, or ``already there``."""
        with self._lock:
            now = time.monotonic()
            row = self._rows.setdefault(cell, _Row(status, 1.0, None, now, 1.0))
            row.status = status
            self._line(f"{cell}: {status} ({self._finished} of {self._total})")
            self._refresh()

    def row(self, cell: str, row: Mapping[str, Any]) -> None:
        """Keep the latest row of a cell's log, whose log-probs stand beside its loss."""
        with self._lock:
            self._logged[cell] = row
            self._refresh()

    def mark(self, cell: str, mark: Mapping[str, Any]) -> None:
        """Show what was measured at a mark, its first sample, and alarms that had not rung before."""
        self._told(cell, list(monitored.mark_lines(mark)))
        self._rang(cell, mark.get("alarms") or ())

    def end(self, cell: str, record: Mapping[str, Any]) -> None:
        """Show the alarms of a cell's record that had not rung before."""
        self._rang(cell, record.get("alarms") or ())

    def say(self, text: str) -> None:
        """Show a line that is about no cell."""
        self._told("", [text])

    def _rang(self, cell: str, alarms: Sequence[Mapping[str, Any]]) -> None:
        for alarm in alarms:
            key = (cell, str(alarm.get("name")))
            if key not in self._alarms:
                self._alarms.add(key)
                self._told(cell, [f"alarm: {visible(alarm.get('said', key[1]), lines=False)}"])

    def _told(self, cell: str, lines: Sequence[str]) -> None:
        """Show some lines: printed at once, or for a while under the table of a terminal."""
        with self._lock:
            shown = [f"{cell}: {line}" if cell else line for line in lines]
            self._below = [*self._below, shown][-BELOW:]
            for line in shown:
                self._line(line)
            self._refresh()

    @property
    def _finished(self) -> int:
        return sum(bool(row.status) for row in self._rows.values())

    def _line(self, text: str) -> None:
        if self._live is None:
            print(f"[{_clock(time.monotonic() - self._started)}] {text}", file=self._stream, flush=True)

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._shown())

    def _shown(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        below = [Text(line, no_wrap=True, overflow="ellipsis") for lines in self._below for line in lines]
        return Group(self._table(), *below)

    def _table(self) -> Table:
        from rich.table import Table

        now = time.monotonic()
        table = Table(title=f"{self._finished} of {self._total} done, {_clock(now - self._started)}", title_justify="left")
        columns = {cell: monitored.columns(self._logged.get(cell, {})) for cell in self._rows}
        logged = any("".join(each) for each in columns.values())
        for heading in ("cell", "stage", "share", "loss", *(monitored.HEADINGS if logged else ()), "time left"):
            table.add_column(heading)
        for cell, row in self._rows.items():
            if not row.status:
                loss = "" if row.loss is None else f"{row.loss:.3f}"
                table.add_row(cell, row.stage, _bar(row.share), loss, *(columns[cell] if logged else ()), _left(row, now))
        ended = [f"{cell} {row.status}" for cell, row in self._rows.items() if row.status][-3:]
        for text in ended:
            table.add_row(text)
        return table


def _bar(share: float) -> str:
    full = round(BAR * min(max(share, 0.0), 1.0))
    return f"{'█' * full}{'░' * (BAR - full)} {share:4.0%}"


def _loss(loss: float | None) -> str:
    return "" if loss is None else f", loss {loss:.3f}"


def _left(row: _Row, now: float) -> str:
    """The stage's remaining time at its mean speed so far; unknown until a hundredth of it has passed."""
    done = row.share - row.offset
    if done < 0.01:
        return "time left unknown"
    return f"{_clock((now - row.began) / done * max(0.0, 1 - row.share))} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
