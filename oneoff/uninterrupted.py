"""Finish what must not be torn apart: a commit, and the closing of a run's record."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Wait for the work to end, also when this task is cancelled meanwhile.

    The cancellation is dropped: once a commit has begun, only its own answer says whether the
    work is done, and "interrupted, rolled back" might be a lie. The grace period of
    `oneoff.signals` still bounds the wait.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    return task.result()
