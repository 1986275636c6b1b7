"""Work that is told to stop, and does not hear it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from oneoff.utils import concurrency
from oneoff.utils.concurrency import stoppable


async def deaf(times: int, started: asyncio.Event) -> str:
    """Drop cancellations, as `asyncio.wait_for` may, and go on."""
    while True:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not times:
                raise
            times -= 1


async def test_a_lost_cancellation_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the work has ended."""
    monkeypatch.setattr(concurrency, "INSIST", 0.01)
    started = asyncio.Event()
    task = asyncio.create_task(stoppable(deaf(3, started)))
    await started.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def test_work_that_ends_as_if_nothing_was_said_was_stopped() -> None:
    """Its result would look like that of a whole run."""
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


async def test_an_error_on_the_way_out_is_raised() -> None:
    """It says more than that the work was stopped."""
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


async def test_leaving_the_process_is_an_error_like_any_other() -> None:
    """It does not end the loop."""

    async def leave() -> None:
        raise SystemExit(0)

    with pytest.raises(SystemExit):
        await stoppable(leave())
