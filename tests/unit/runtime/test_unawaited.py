"""Coroutines that nobody awaited are noticed, in each of the runs of a process."""

from __future__ import annotations

import asyncio
import warnings

from oneoff.runtime.unawaited import collecting


async def forget() -> None:
    """Do nothing, when awaited."""


async def test_runs_that_overlap_notice_their_own_and_leave_no_hook_behind() -> None:
    """As in a worker: the one that began first ends first."""
    before = warnings.showwarning
    begun, ended = asyncio.Event(), asyncio.Event()

    async def first() -> list[str]:
        with collecting() as names:
            await begun.wait()
            forget()  # type: ignore[unused-coroutine] # pyright: ignore[reportUnusedCoroutine] - that is the mistake
        ended.set()
        return names

    async def second() -> list[str]:
        with collecting() as names:
            begun.set()
            await ended.wait()
        return names

    found = await asyncio.gather(first(), second())

    assert [[forget.__qualname__], []] == list(found)
    assert before is warnings.showwarning
