"""Coroutines that are never awaited are noticed in each run of a process."""

from __future__ import annotations

import asyncio
import warnings

from oneoff.runtime.unawaited import collecting


async def forget() -> None:
    """Do nothing, when awaited."""


async def test_overlapping_runs_notice_only_their_own_coroutines_and_remove_the_hook() -> None:
    """As in a worker, the run that started first ends first."""
    before = warnings.showwarning
    started, ended = asyncio.Event(), asyncio.Event()

    async def first() -> list[str]:
        with collecting() as names:
            await started.wait()
            forget()  # type: ignore[unused-coroutine] # pyright: ignore[reportUnusedCoroutine] - that is the mistake
        ended.set()
        return names

    async def second() -> list[str]:
        with collecting() as names:
            started.set()
            await ended.wait()
        return names

    found = await asyncio.gather(first(), second())

    assert [[forget.__qualname__], []] == list(found)
    assert before is warnings.showwarning
