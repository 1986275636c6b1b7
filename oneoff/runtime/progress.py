"""Show the progress of long work: the resource `progress`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

from oneoff.core.run import Run
from oneoff.runtime.logs.loggers import Logs
from oneoff.runtime.terminal import Terminal

ROWS = "rows"

_BAR = 30  # characters
_REDRAW_SECONDS = 0.1  # between two updates of the bar
_LOG_SECONDS = 5.0  # between two lines of the log
_TICK_SECONDS = 1.0  # between two updates of a line that shows seconds
_MINUTE, _HOUR = 60, 3600


class Progress:
    """Shows progress: a bar on a terminal, a log line every few seconds elsewhere.

    Args:
        terminal: The run's terminal.
        logs: The run's logs; if they take only errors, no progress is shown.
        run: The run to name on every line of the log.
        clock: Returns seconds.
    """

    def __init__(
        self, terminal: Terminal, logs: Logs, run: Run, clock: Callable[[], float] = monotonic
    ) -> None:
        self._terminal, self._logs, self._run, self._clock = terminal, logs, run, clock
        self._every = _REDRAW_SECONDS if terminal.shows_status else _LOG_SECONDS
        self.start(0)

    @property
    def done(self) -> int:
        """The number of steps done so far."""
        return self._done

    def start(self, total: int, *, unit: str = ROWS) -> None:
        """Start to count steps.

        Args:
            total: Estimated number of steps; 0 if it is unknown.
            unit: What a step is: "keys", "bytes".
        """
        self._total, self._unit = total, unit
        self._done, self._rows = 0, 0
        self._started = self._shown = self._clock()

    def advance(self, steps: int = 1, *, rows: int = 0) -> None:
        """Count steps that were done; cheap enough to call for every row.

        Args:
            steps: Number of steps, in the unit of `start`.
            rows: Number of rows in these steps, if a step is not a row.
        """
        self._done += steps
        self._rows += rows
        now = self._clock()
        if now - self._shown >= self._every:
            self._shown = now
            self._show(now - self._started)

    @asynccontextmanager
    async def timing(
        self, step: Callable[[], str], *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> AsyncIterator[None]:
        """Show on a terminal how long the current step takes: `applying 0005 ... 12 s`.

        Args:
            step: Returns what happens now. The seconds start again when the text changes.
            sleep: Waits between two updates.
        """
        if not self._terminal.shows_status or not self._logs.writes("warning"):
            yield
            return
        ticking = asyncio.create_task(self._tick(step, sleep))
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])
            self.close()

    async def _tick(
        self, step: Callable[[], str], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        current, since = "", 0.0
        while True:
            if (text := step()) != current:
                current, since = text, self._clock()
            self._terminal.status(f"{text} ... {_duration(self._clock() - since)}")
            await sleep(_TICK_SECONDS)

    def close(self) -> None:
        """Erase the bar, so that the result starts on an empty line."""
        self._terminal.status("")

    def _show(self, seconds: float) -> None:
        per_second = (self._rows or self._done) / seconds
        # The total is an estimate. Once it is exceeded, the remaining time is unknown.
        left = None
        if 0 < self._done <= self._total:
            left = seconds * (self._total - self._done) / self._done
        if not self._terminal.shows_status:
            self._log(per_second, left)
        elif self._logs.writes("warning"):
            self._terminal.status(self._line(per_second, left))

    def _log(self, per_second: float, left: float | None) -> None:
        facts: dict[str, object] = {"done": self._done}
        if self._total:
            facts["total"] = self._total
        if self._unit != ROWS:
            facts["unit"] = self._unit
        if self._rows:
            facts["rows"] = self._rows
        facts["per_second"] = round(per_second)
        if left is not None:
            facts["seconds_left"] = round(left)
        self._logs.logger(self._run).info("run.progressed", **facts)

    def _line(self, per_second: float, left: float | None) -> str:
        parts = [f"{self._counted()}  {per_second:,.0f}/s"]
        if left is not None:
            bar = "#" * (self._done * _BAR // self._total)
            parts = [f"[{bar.ljust(_BAR, '.')}]", *parts, f"{_duration(left)} left"]
        return "  ".join(parts)

    def _counted(self) -> str:
        if self._rows:
            return f"{self._rows:,} {ROWS}"
        of = f" of {self._total:,}" if 0 < self._done <= self._total else ""
        return f"{self._done:,}{of} {self._unit}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


@asynccontextmanager
async def open_progress(terminal: Terminal, logs: Logs, run: Run) -> AsyncIterator[Progress]:
    """Open the resource `progress`; its bar is erased when the run ends."""
    progress = Progress(terminal, logs, run)
    try:
        yield progress
    finally:
        progress.close()
