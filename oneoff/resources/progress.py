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
        self._total, self._done = 0, 0
        self._started = self._shown = monotonic()
        self._drawn = False

    def start(self, total: int) -> None:
        """Say how many steps there are; 0 when nobody knows."""
        self._total, self._done = total, 0
        self._started = self._shown = monotonic()

    def advance(self, steps: int = 1) -> None:
        """Say that steps were done; cheap enough for every row."""
        self._done += steps
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
        rate = self._done / max(now - self._started, 0.001)
        if not self._terminal.shows_logs_readably:
            log = self._logs.logger(self._run)
            log.info("run.progressed", done=self._done, total=self._total, per_second=round(rate))
            return
        self._drawn = True
        share = min(self._done / self._total, 1) if self._total else 0
        bar = ("#" * round(share * _BAR)).ljust(_BAR, ".")
        left = f"  {(self._total - self._done) / rate:.0f} s left" if self._total and rate else ""
        self._terminal.err(f"\r\x1b[K[{bar}] {self._done:,} at {rate:,.0f}/s{left}")


@asynccontextmanager
async def open_progress(terminal: Terminal, logs: Logs, run: Run) -> AsyncIterator[Progress]:
    """Give a progress display that is gone when the run ends."""
    progress = Progress(terminal, logs, run)
    try:
        yield progress
    finally:
        progress.close()
