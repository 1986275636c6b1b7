"""Whatever a listener of a plug-in does, it is at most a warning."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oneoff import Config, Project, load_config
from oneoff.runtime.plugins import listeners as module
from oneoff.runtime.plugins.entry_points import EVENTS, EntryPoint
from oneoff.runtime.plugins.listeners import Listeners
from oneoff.runtime.signals import SignalReceived

SEEN: list[str] = []
BLOCKED, COLLECTED = threading.Event(), threading.Event()


def collect(config: Config) -> Callable[[str], None]:
    """Return a listener that collects events."""
    assert config.environment == "test"

    def listen(event: str) -> None:
        SEEN.append(event)
        COLLECTED.set()

    return listen


def nothing(_config: Config) -> None:
    """Return no listener, because a setting is missing."""


def broken(_config: Config) -> Any:
    """Fail to return a listener."""
    raise ValueError("no key")


def cancelled(_config: Config) -> Any:
    """Fail with what is no `Exception`."""
    raise asyncio.CancelledError


def interrupted(_config: Config) -> Any:
    """Be interrupted by a signal."""
    raise SignalReceived(signal.SIGTERM)


def failing(_config: Config) -> Any:
    """Return a listener that always fails."""

    def fail(event: str) -> None:
        raise ValueError(event)

    return fail


def leaving(_config: Config) -> Any:
    """Return a listener that ends its thread."""

    def leave(_event: str) -> None:
        raise SystemExit(3)

    return leave


def asynchronous(_config: Config) -> Any:
    """Return a coroutine function."""

    async def listen(_event: str) -> None:
        """Never called."""

    return listen


def hanging(_config: Config) -> Any:
    """Return a listener that is blocked until the test ends."""
    return lambda _event: BLOCKED.wait(30)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that makes the listeners of these functions."""
    SEEN.clear()
    COLLECTED.clear()

    def make(*names: str) -> Any:
        config = load_config(
            tmp_path, Project("shop"), {"ENVIRONMENT": "test", "DATABASE_URL": "sqlite:///x"}
        )
        points = [EntryPoint(EVENTS, name, f"{__name__}:{name}", "acme 1.0") for name in names]
        return Listeners(points, config)

    return make


async def test_a_listener_gets_all_events_in_order(load: Callable[..., Any]) -> None:
    """Nothing waits while they are passed on; `finish` does."""
    listeners = load("collect")

    for event in ("a", "b", "c"):
        listeners.emit(event)
    await listeners.finish()

    assert (["a", "b", "c"], []) == (SEEN, listeners.take_warnings())


async def test_an_event_that_comes_as_the_thread_ends_is_handled_once(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that has handled the previous event handles it too: there is no second one."""
    look, looked = module._Caller._next, threading.Event()
    added: list[threading.Thread] = []

    def look_late(caller: Any) -> Any:
        if SEEN and not looked.is_set():
            with caller._changed:  # another thread could not get the event meanwhile
                before = set(threading.enumerate())
                caller.put("b")
                added.extend(set(threading.enumerate()) - before)
                looked.set()
        return look(caller)

    monkeypatch.setattr(module._Caller, "_next", look_late)
    listeners = load("collect")
    listeners.emit("a")
    assert looked.wait(10)
    listeners.wait()

    assert (["a", "b"], []) == (SEEN, added)


async def test_a_function_may_return_no_listener(load: Callable[..., Any]) -> None:
    """Then nothing is called, and nothing costs time."""
    assert not load("nothing")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("failing", "failed: ValueError: a"),
        ("leaving", "failed: SystemExit: 3"),
        (
            "asynchronous",
            "failed: TypeError: it is declared by async def; a listener is a plain function",
        ),
        ("broken", "was not started: ValueError: no key"),
        ("cancelled", "was not started: CancelledError"),
        ("missing", "was not started: "),
    ],
)
async def test_a_problem_of_a_listener_is_a_warning(
    load: Callable[..., Any], name: str, problem: str
) -> None:
    """It names the plug-in. The other listeners get the event."""
    listeners = load(name, "collect")

    listeners.emit("a")
    await listeners.finish()

    (warning,) = listeners.take_warnings()
    assert warning.startswith(f"the listener {name!r} of acme 1.0 {problem}")
    assert ["a"] == SEEN


async def test_a_signal_is_no_problem_of_a_listener(load: Callable[..., Any]) -> None:
    """It came while the listener was made, and has to stop the process."""
    with pytest.raises(SignalReceived):
        load("interrupted")


async def test_nothing_waits_for_a_listener_that_hangs(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets no more events, so the next run does not wait for it again."""
    listeners = load("collect", "hanging")

    listeners.emit("a")
    assert COLLECTED.wait(10)
    with monkeypatch.context() as patch:
        patch.setattr(module, "WAIT", 0.3)
        await listeners.finish()
    first = listeners.take_warnings()
    listeners.emit("b")
    await listeners.finish()

    late = "the listener 'hanging' of acme 1.0 did not finish in time; the run did not wait for it"
    assert ([late], []) == (first, listeners.take_warnings())
    assert ["a", "b"] == SEEN
    BLOCKED.set()


async def test_a_slow_listener_does_not_fill_the_memory(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events over a limit are dropped, with a warning."""
    BLOCKED.clear()
    monkeypatch.setattr(module, "BACKLOG", 2)
    listeners = load("hanging")

    for event in ("a", "b", "c"):
        listeners.emit(event)
    BLOCKED.set()
    await listeners.finish()

    slow = "the listener 'hanging' of acme 1.0 is too slow: an event was dropped"
    assert [slow] == listeners.take_warnings()
