"""Several things at once."""

from __future__ import annotations

import asyncio

import pytest

from oneoff.utils.concurrency import together


async def test_results_come_in_the_order_asked_for() -> None:
    """Whoever is ready first."""

    async def after(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    assert [0.02, 0.0, 0.01] == await together([after(0.02), after(0), after(0.01)])


async def test_an_error_stops_the_rest_before_it_is_raised() -> None:
    """Nothing is left behind that might go on writing."""
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
