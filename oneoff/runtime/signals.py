"""Handle SIGTERM, SIGINT and SIGHUP, from before the project is imported until the process ends.

One handler is installed for the entire life of the process, so no signal gets its default action.
(For PID 1 of a container, the default is to ignore the signal.) The value of `_state.cancel`
decides what the first signal does:

1. None, before the event loop runs: the signal raises `SignalReceived` in the main thread.
2. A function, while `cancelling` is entered: the signal cancels the run, and with it the query on
   the server. An alarm ends the process if that takes longer than `GRACE_SECONDS`.
3. `_nothing`, after the run: the signal is only stored, so that it can't interrupt the report.

A signal that is already ignored when the process starts, such as SIGHUP under `nohup`, stays
ignored. Further SIGTERMs change nothing. A second SIGINT ends the process at once.
"""

from __future__ import annotations

import atexit
import os
import signal

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# Kubernetes and Heroku kill the process 30 s after SIGTERM.
GRACE_SECONDS = 20
"""Seconds that a clean stop may take."""

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignalReceived(BaseException):
    """A signal arrived while no event loop was running."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class _State:
    """The signals received so far; one per process, as signal handlers are."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.interrupts = 0
        self.cancel: Callable[[], object] | None = None
        self.exit_code: Callable[[], int | None] = lambda: None


_state = _State()


def exit_code_of(signum: int) -> int:
    """Return the exit code for a signal: 130 for SIGINT, 143 for the others."""
    return 130 if signum == signal.SIGINT else 143


def install() -> None:
    """Install the handler for the stopping signals; call this before the project is imported."""
    _state.first, _state.interrupts, _state.cancel = None, 0, None
    _state.exit_code = lambda: None
    for signum in stopping():
        signal.signal(signum, _on_signal)
    atexit.register(_restart_alarm)  # before those of the project, so it is called after them


def stopping() -> list[signal.Signals]:
    """Return the signals that stop a run, without those that the parent process set to be ignored.

    `nohup` ignores SIGHUP, and a shell ignores SIGINT for a script's background jobs.
    """
    return [one for one in _STOPPING if signal.getsignal(one) is not signal.SIG_IGN]


def received() -> int | None:
    """Return the first stopping signal that this process received, if any."""
    return _state.first


def let_choose_exit_code(exit_code: Callable[[], int | None]) -> None:
    """Let a function choose the exit code of a process that must be ended before its run has ended.

    Args:
        exit_code: Returns the code, or None for that of the signal or of the deadline. With it, a
            run keeps a scheduler from repeating work that is or may be committed.
    """
    _state.exit_code = exit_code


class cancelling:  # noqa: N801 - reads as a verb: `with signals.cancelling(...)`
    """While the block runs, let the first signal call `cancel` instead of raising.

    Args:
        cancel: A function that is safe to call from a signal handler:
            `loop.call_soon_threadsafe(...)`.
    """

    def __init__(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel

    def __enter__(self) -> None:
        _state.cancel = self._cancel
        if _state.first is not None:
            # `SignalReceived` was lost before: Python ignores exceptions that `__del__` raises.
            raise SignalReceived(_state.first)

    def __exit__(self, *_: object) -> None:
        # The run has ended: a signal that comes now must not interrupt its report.
        _state.cancel = _nothing


class deadline:  # noqa: N801 - reads as a noun: `with signals.deadline(5)`
    """End the process if the block still runs some time after a deadline.

    `--timeout` cancels the run. But a thread, a driver or the command itself may ignore the
    cancellation. Then a timer thread ends the process, because the main thread may be blocked.

    Args:
        seconds: Time from now to the deadline; None for no deadline.
        grace: Seconds after the deadline in which the block may still end; GRACE_SECONDS by
            default.
        end: Ends the process.
    """

    def __init__(
        self,
        seconds: float | None,
        grace: float | None = None,
        end: Callable[[], object] | None = None,
    ) -> None:
        self._seconds, self._end = seconds, end or _end_late
        self._grace = GRACE_SECONDS if grace is None else grace
        self._until = 0.0

    def __enter__(self) -> None:
        if self._seconds is None:
            return
        from threading import Timer
        from time import monotonic

        self._until = monotonic() + self._seconds
        self._timer = Timer(self._seconds + self._grace, self._end)
        self._timer.daemon = True
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        from time import monotonic

        # After the deadline the timer keeps running: at exit the interpreter waits for threads,
        # and one of them may block.
        if self._seconds is not None and monotonic() < self._until:
            self._timer.cancel()


def end_quietly() -> None:
    """End the process without a word, for a caller that needs no answer that comes late."""
    os._exit(0)


def _end_late() -> None:
    text = (
        f"error: the run did not stop {GRACE_SECONDS} s after --timeout, so its process was ended\n"
    )
    os.write(2, text.encode())
    os._exit(_exit_code(75))


def _nothing() -> None:
    """Do nothing."""


def _on_signal(signum: int, _frame: FrameType | None) -> None:
    _state.interrupts += signum == signal.SIGINT
    if _state.interrupts > 1:
        os._exit(_exit_code(exit_code_of(signum)))
    if _state.first is not None:
        return
    _state.first = signum
    if _state.cancel is None:
        raise SignalReceived(signum)
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.alarm(GRACE_SECONDS)
    _state.cancel()


def _on_alarm(_signum: int, _frame: FrameType | None) -> None:
    """End the process even if something still blocks; the server rolls back open transactions."""
    os._exit(_exit_code(exit_code_of(_state.first or signal.SIGTERM)))


def _restart_alarm() -> None:
    """Give the interpreter the whole time again to free its modules, which can hardly block."""
    # It first takes the handlers away, so the alarm would end the process with the code 142.
    if _state.first is not None:
        signal.alarm(GRACE_SECONDS)


def _exit_code(otherwise: int) -> int:
    chosen = _state.exit_code()
    return otherwise if chosen is None else chosen
