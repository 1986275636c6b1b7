"""Cancel work that drops or delays the cancellation."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from oneoff.utils import concurrency
from oneoff.utils.concurrency import stoppable


async def deaf(times: int, started: asyncio.Event) -> str:
    """Drop cancellations, as `asyncio.wait_for` may, and continue."""
    while True:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not times:
                raise
            times -= 1


async def test_a_lost_cancellation_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is repeated until the work has ended."""
    monkeypatch.setattr(concurrency, "INSIST", 0.01)
    started = asyncio.Event()
    task = asyncio.create_task(stoppable(deaf(3, started)))
    await started.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def test_a_result_after_a_cancellation_is_dropped() -> None:
    """The cancellation is raised, because the work may be incomplete."""
    started = asyncio.Event()

    async def shrug() -> str:
        started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "done"

    task = asyncio.create_task(stoppable(shrug()))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_after_a_cancellation_is_raised() -> None:
    """It contains more than the cancellation."""
    started = asyncio.Event()

    async def break_down() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            message = "could not clean up"
            raise ValueError(message)

    task = asyncio.create_task(stoppable(break_down()))
    await started.wait()
    task.cancel()

    with pytest.raises(ValueError, match="could not clean up"):
        await task


async def test_system_exit_in_the_work_is_raised_to_the_caller() -> None:
    """It does not end the event loop."""

    async def leave() -> None:
        raise SystemExit(0)

    with pytest.raises(SystemExit):
        await stoppable(leave())
