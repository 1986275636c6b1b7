"""Signals while a person sits at a prompt: Ctrl-C cancels the input or statement, not the run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Self

_GLANCE_SECONDS = 0.2


class Stopped(BaseException):
    """A signal that ends the run arrived while the prompt waited for a line."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Interrupts:
    """Takes over SIGINT, and lets the signals that end a run also end a blocked prompt.

    Use it as a context manager, in the task that reads and runs statements.

    Args:
        statements: Code objects whose frame means that a statement is being run: an interrupt is
            raised in it. While it only waits, its task is cancelled instead, because an exception
            raised in the middle of the event loop would end the loop.
    """

    def __init__(self, *statements: CodeType) -> None:
        self._statements = statements
        self._before: dict[signal.Signals, Any] = {}
        self._at_prompt = False
        self._cancelled = False
        self._stopped = False
        self._cancel: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        self.aim()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[signum] = signal.signal(signum, self._on_signal)
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stopped:
            del self._before[signal.SIGALRM]  # it now bounds the grace period
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    @contextmanager
    def at_prompt(self) -> Iterator[None]:
        """Mark the time in which the main thread is blocked by reading a line."""
        self._at_prompt = True
        # A signal that arrives just before readline begins to wait would be noticed only at the
        # end of the line.
        signal.setitimer(signal.ITIMER_REAL, _GLANCE_SECONDS, _GLANCE_SECONDS)
        try:
            yield
        finally:
            self._at_prompt = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def stop(self, signum: int) -> None:
        """End the run as it would have ended without a prompt."""
        self._stopped = True
        handler = self._before[signal.Signals(signum)]
        if callable(handler):
            handler(signum, None)

    def aim(self) -> None:
        """Let Ctrl-C cancel the task that calls this."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            cancel = task.cancel
            self._cancel = lambda: loop.call_soon_threadsafe(cancel)

    def took(self) -> bool:
        """Return whether the cancellation just caught was Ctrl-C's, and not the run's end."""
        task = asyncio.current_task()
        if not self._cancelled or task is None:
            return False
        self._cancelled = False
        return task.uncancel() == 0

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if signum != signal.SIGINT:
            if self._at_prompt:
                raise Stopped(signum)  # its handler starts a timer; ours must be off by then
            self.stop(signum)
        elif self._at_prompt or self._runs_statement(frame):
            raise KeyboardInterrupt
        else:
            self._cancelled = True
            self._cancel()

    def _runs_statement(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_code in self._statements:
                return True
            frame = frame.f_back
        return False
