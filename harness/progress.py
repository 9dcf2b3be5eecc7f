"""The live view of the grid: a table on a terminal, plain lines anywhere else. Nothing a model wrote is ever shown here."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

EVERY = 0.1  # share of a stage between two plain lines
BAR = 20  # characters of a full bar


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
    """Shows cells as they run: stage, share of the budget, loss and time left. Use it as a context manager.

    ``total`` is the number of cells and shared stages to come. The stream decides the form: a terminal gets one live table, any other a
    line where a stage starts or ends and about every tenth of it. Threads of one process may call it; what is said of a cell after its end
    is dropped.
    """

    def __init__(self, total: int, *, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._total = total
        self._rows: dict[str, _Row] = {}
        self._live: Live | None = None
        self._started = time.monotonic()
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream, markup=False, highlight=False)
            self._live = Live(self._table(), console=console, refresh_per_second=4, transient=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.update(self._table())
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
                self._line(f"{cell}: {stage} {share:.0%}{_loss(loss)}, {_left(row, now)}")
            self._refresh()

    def finish(self, cell: str, status: str) -> None:
        """Say how a cell ended: ``finished``, ``diverged``, ``failed``, or ``already there``."""
        with self._lock:
            now = time.monotonic()
            row = self._rows.setdefault(cell, _Row(status, 1.0, None, now, 1.0))
            row.status = status
            self._line(f"{cell}: {status} ({self._finished} of {self._total})")
            self._refresh()

    @property
    def _finished(self) -> int:
        return sum(bool(row.status) for row in self._rows.values())

    def _line(self, text: str) -> None:
        if self._live is None:
            print(f"[{_clock(time.monotonic() - self._started)}] {text}", file=self._stream, flush=True)

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Table:
        from rich.table import Table

        now = time.monotonic()
        table = Table(title=f"{self._finished} of {self._total} done, {_clock(now - self._started)}", title_justify="left")
        for heading in ("cell", "stage", "share", "loss", "time left"):
            table.add_column(heading)
        for cell, row in self._rows.items():
            if not row.status:
                table.add_row(cell, row.stage, _bar(row.share), "" if row.loss is None else f"{row.loss:.3f}", _left(row, now))
        ended = [f"{cell} {row.status}" for cell, row in self._rows.items() if row.status][-3:]
        for text in ended:
            table.add_row(text, "", "", "", "")
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
