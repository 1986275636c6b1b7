"""How far long work has come, as the resource `progress`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from oneoff.logs import Logs
from oneoff.run import Run
from oneoff.terminal import Terminal

_BAR = 30
_REDRAW_SECONDS = 0.1
_LOG_SECONDS = 5.0


class Progress:
    """Shows how far the work is: a bar on a terminal, a log line every few seconds elsewhere."""

    def __init__(self, terminal: Terminal, logs: Logs, run: Run) -> None:
        self._terminal, self._logs, self._run = terminal, logs, run
        self._total, self._done, self._rows = 0, 0, 0
        self._unit = "rows"
        self._started = self._shown = monotonic()
        self._drawn = False

    def start(self, total: int, *, unit: str = "rows") -> None:
        """Say how many steps there are; 0 when nobody knows.

        Args:
            total: Rows, or other units.
            unit: What a step is, where it is no row: "bytes" of a file. Rows are counted besides.
        """
        self._total, self._done, self._rows = total, 0, 0
        self._unit = unit
        self._started = self._shown = monotonic()

    def advance(self, steps: int = 1, *, rows: int | None = None) -> None:
        """Say that steps were done; cheap enough for every row.

        Args:
            steps: In the unit of `start`.
            rows: How many rows they were, where a step is no row.
        """
        self._done += steps
        self._rows += steps if rows is None else rows
        now = monotonic()
        every = _REDRAW_SECONDS if self._terminal.shows_logs_readably else _LOG_SECONDS
        if now - self._shown >= every:
            self._shown = now
            self._show(now)

    def close(self) -> None:
        """Take the bar away, so that the result stands on a line of its own."""
        if self._drawn:
            self._terminal.err("\r\x1b[K")

    def _show(self, now: float) -> None:
        seconds = max(now - self._started, 0.001)
        rate = self._rows / seconds
        if not self._terminal.shows_logs_readably:
            self._log(rate)
            return
        self._drawn = True
        share = min(self._done / self._total, 1) if self._total else 0
        bar = ("#" * round(share * _BAR)).ljust(_BAR, ".")
        left = f"  {seconds / share - seconds:.0f} s left" if share else ""
        self._terminal.err(f"\r\x1b[K[{bar}] {self._rows:,} at {rate:,.0f}/s{left}")

    def _log(self, rate: float) -> None:
        log = self._logs.logger(self._run)
        facts = {"done": self._rows, "total": self._total}
        if self._unit != "rows":
            facts = {"rows": self._rows, "done": self._done, "total": self._total}
        log.info("run.progressed", **facts, per_second=round(rate))


@asynccontextmanager
async def open_progress(terminal: Terminal, logs: Logs, run: Run) -> AsyncIterator[Progress]:
    """Give a progress display that is gone when the run ends."""
    progress = Progress(terminal, logs, run)
    try:
        yield progress
    finally:
        progress.close()
