"""Finish what must not be torn apart: a commit, and the closing of a run's record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Wait for the work to end, also when this task is cancelled meanwhile.

    The cancellation is dropped: once a commit has begun, only its own answer says whether the
    work is done, and "interrupted, rolled back" might be a lie. The grace period of
    `oneoff.signals` still bounds the wait.
    """
    task, _ = await _ended(work)
    return task.result()


async def undivided(work: Coroutine[Any, Any, T], undo: Callable[[T], Awaitable[object]]) -> T:
    """Wait for short work to end, and raise a cancellation that came meanwhile only then.

    Args:
        work: What a driver can't be interrupted in without losing its way.
        undo: Takes the result back where the cancellation is raised instead of returning it.
    """
    task, cancelled = await _ended(work)
    if cancelled is None:
        return task.result()
    if task.exception() is None:
        await undo(task.result())
    raise cancelled


async def _ended(
    work: Coroutine[Any, Any, T],
) -> tuple[asyncio.Task[T], asyncio.CancelledError | None]:
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    return task, cancelled
