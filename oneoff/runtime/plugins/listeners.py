"""Call the listeners of plug-ins. They can add warnings to a run and delay its end, nothing more.

Each listener gets its events in order, in a thread of its own, while the run goes on. At the end
the run waits for all listeners together, for at most `WAIT` seconds. An error in a listener is a
warning. One that is not done in time is another warning, and gets no more events.

The functions that return the listeners are called before the first run, which waits for them
without a limit. An error in one is a warning too.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING

from oneoff.core.errors import CommandError
from oneoff.core.project import load_object
from oneoff.runtime import signals
from oneoff.utils.concurrency import in_daemon_thread
from oneoff.utils.places import error_text

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.events import AnyEvent, Listener
    from oneoff.runtime.plugins.entry_points import EntryPoint

WAIT = 5.0
"""Seconds for which the end of a run waits for all listeners together."""
WAIT_AFTER_SIGNAL = 1.0
"""The same after a signal, because the platform soon kills the process."""
BACKLOG = 100
"""How many events can wait for one listener; more are dropped, with a warning."""


class Listeners:
    """The listeners of one project.

    Args:
        points: The entry points of the functions that return them.
        config: The settings, which these functions get.
        warn: Called with each warning, in any thread; by default they are collected.

    Attributes:
        warn: As given.
    """

    def __init__(
        self,
        points: Iterable[EntryPoint],
        config: Config,
        warn: Callable[[str], object] | None = None,
    ) -> None:
        self._warnings: list[str] = []
        self._callers: list[_Caller] = []
        self.warn = warn or self._warnings.append
        for point in points:
            name = f"the listener {point.name!r} of {point.distribution}"
            try:
                listener = load_object(point.value)(config)
            except (KeyboardInterrupt, signals.SignalReceived):
                raise
            except BaseException as exc:  # noqa: BLE001 - a plug-in must not end a run
                self.warn(f"{name} was not started: {_problem(exc)}")
            else:
                if listener is not None:
                    self._callers.append(_Caller(name, listener, self.warn))

    def __bool__(self) -> bool:
        """Return whether there is a listener, or a warning about one."""
        return bool(self._callers or self._warnings)

    def emit(self, event: AnyEvent) -> None:
        """Pass an event to all listeners, without waiting for them."""
        for caller in self._callers:
            caller.put(event)

    async def finish(self) -> None:
        """Wait until all events are handled, for `WAIT` seconds."""
        if any(caller.is_busy for caller in self._callers):
            await in_daemon_thread(self.wait)

    def wait(self) -> None:
        """Do the same without an event loop, at the end of a process."""
        until = monotonic() + (WAIT_AFTER_SIGNAL if signals.received() else WAIT)
        for caller in self._callers:
            caller.wait(until)

    def take_warnings(self) -> list[str]:
        """Return the warnings since the last call."""
        taken = self._warnings[:]
        del self._warnings[: len(taken)]
        return taken


class _Caller:
    """Calls one listener in a daemon thread, which exists while there are events.

    Args:
        name: The listener, for messages.
        listener: The function.
        warn: Called with a warning, in any thread.
    """

    def __init__(self, name: str, listener: Listener, warn: Callable[[str], object]) -> None:
        self._name, self._listener, self._warn = name, listener, warn
        self._events: deque[AnyEvent] = deque()
        self._changed = threading.Condition()
        self._running = False  # whether there is a thread that will look for another event
        self._gave_up = False

    @property
    def is_busy(self) -> bool:
        return bool(self._events)

    def put(self, event: AnyEvent) -> None:
        with self._changed:
            if self._gave_up:
                return
            if len(self._events) == BACKLOG:
                self._warn(f"{self._name} is too slow: an event was dropped")
                return
            if not self._running:
                threading.Thread(target=self._work, daemon=True, name="oneoff-listener").start()
                self._running = True
            self._events.append(event)

    def wait(self, until: float) -> None:
        """Wait until all events are handled; give up at this time of `monotonic`."""
        with self._changed:
            left = max(0.0, until - monotonic())
            if not self._changed.wait_for(lambda: not self._events, left):
                self._gave_up = True
                self._events.clear()
                self._warn(f"{self._name} did not finish in time; the run did not wait for it")

    def _work(self) -> None:
        while (event := self._next()) is not None:
            try:
                _check(self._listener(event))
            except BaseException as exc:  # noqa: BLE001 - also SystemExit: it is only a warning
                self._warn(f"{self._name} failed: {_problem(exc)}")
            with self._changed:
                if self._events:
                    self._events.popleft()
                self._changed.notify_all()

    def _next(self) -> AnyEvent | None:
        with self._changed:
            self._running = bool(self._events)
            return self._events[0] if self._events else None


def _problem(exc: BaseException) -> str:
    return exc.message if isinstance(exc, CommandError) else error_text(exc)


def _check(returned: object) -> None:
    if asyncio.iscoroutine(returned):
        returned.close()
        message = "it is declared by async def; a listener is a plain function"
        raise TypeError(message)
