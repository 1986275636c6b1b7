"""Run several coroutines at the same time."""

from __future__ import annotations

import asyncio

import pytest

from oneoff.utils.concurrency import together


async def test_results_are_in_the_order_of_the_coroutines() -> None:
    """Whichever ends first."""

    async def after(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    assert [0.02, 0.0, 0.01] == await together([after(0.02), after(0), after(0.01)])


async def test_an_error_cancels_the_others_before_it_is_raised() -> None:
    """None of them continues to write afterwards."""
    ended: list[str] = []

    async def fail() -> None:
        raise LookupError("gone")

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append("stopped")

    with pytest.raises(LookupError, match="gone"):
        async with asyncio.timeout(10):
            await together([wait(), fail(), wait()])

    assert ["stopped", "stopped"] == ended
