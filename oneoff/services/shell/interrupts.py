"""Handle signals at a prompt: Ctrl-C cancels the line or the statement, not the run.

The handler of SIGINT distinguishes three situations:

- The main thread is blocked in `input()`. The handler raises KeyboardInterrupt, which ends
  `input()`.
- A statement's own frame is on the stack (`while True: pass`). The handler raises KeyboardInterrupt
  in the statement.
- The event loop is running and the statement waits (`await asyncio.sleep(60)`). An exception would
  be raised in the event loop and end it, so the handler cancels the statement's task.

SIGTERM and SIGHUP end the run. Their handlers, which `oneoff.runtime.signals` installed, cancel the
run's task. But while the main thread is blocked in `input()`, the cancellation has no effect. So
the handler raises `PromptStopped` to end `input()`, and `Interrupts.stop` then calls the handler
that was installed before.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Self

from oneoff.runtime.signals import stopping

_CHECK_SECONDS = 0.2  # see Interrupts.at_prompt


class PromptStopped(BaseException):
    """A signal that ends the run has arrived while the prompt was reading a line."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Interrupts:
    """Handles SIGINT, SIGTERM and SIGHUP while a prompt is open.

    Use it as a context manager, in the task that reads and runs statements.

    Args:
        statements: Code objects that run statements. If one of them has a frame on the stack, a
            statement is running, and SIGINT raises KeyboardInterrupt in it.
    """

    def __init__(self, *statements: CodeType) -> None:
        self._statements = statements
        self._before: dict[signal.Signals, Any] = {}
        self._at_prompt = False
        self._cancelled = False
        self._stopped = False
        self._cancel: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        self.target_current_task()
        for signum in stopping():
            self._before[signum] = signal.signal(signum, self._on_signal)
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stopped:
            # The run's own handler uses SIGALRM from now on, to end the grace period.
            del self._before[signal.SIGALRM]
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    @contextmanager
    def at_prompt(self) -> Iterator[None]:
        """Mark the time during which the main thread is blocked because it reads a line."""
        self._at_prompt = True
        # Python runs a signal handler only between bytecodes. A signal that arrives just before
        # readline starts to wait would be handled only after the line has ended. The timer's
        # SIGALRM interrupts readline regularly, and then Python runs the pending handler.
        signal.setitimer(signal.ITIMER_REAL, _CHECK_SECONDS, _CHECK_SECONDS)
        try:
            yield
        finally:
            self._at_prompt = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def stop(self, signum: int) -> None:
        """Pass a signal to the handler that was installed before, which ends the run."""
        self._stopped = True
        handler = self._before[signal.Signals(signum)]
        if callable(handler):
            handler(signum, None)

    def target_current_task(self) -> None:
        """Make the calling task the one that Ctrl-C cancels."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            cancel = task.cancel
            self._cancel = lambda: loop.call_soon_threadsafe(cancel)

    def take_interrupt(self) -> bool:
        """Return whether Ctrl-C caused the CancelledError that was just caught; if so, undo it.

        If this returns False, the run itself is cancelled, and the caller must raise the error
        again. `uncancel` returns the number of other cancellations of the task: those of the run.
        """
        task = asyncio.current_task()
        if not self._cancelled or task is None:
            return False
        self._cancelled = False
        return task.uncancel() == 0

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if signum != signal.SIGINT:
            if self._at_prompt:
                # The run's handler starts a timer. So `at_prompt` must stop its own timer before.
                raise PromptStopped(signum)
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
