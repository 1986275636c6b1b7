"""Resources are closed in reverse order, and after the work is done each of them apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from oneoff.runtime.container import Container

CLOSED: list[str] = []


@asynccontextmanager
async def open_outer() -> AsyncIterator[str]:
    """Provide a resource whose last lines run only if the run has succeeded."""
    CLOSED.clear()
    yield "outer"
    CLOSED.append("announced")


@asynccontextmanager
async def open_inner(outer: str) -> AsyncIterator[str]:
    """Provide a resource that can't be closed."""
    yield f"inner of {outer}"
    raise ValueError("can't be closed")


PROVIDERS = {"outer": f"{__name__}:open_outer", "inner": f"{__name__}:open_inner"}


async def test_an_error_in_closing_does_not_reach_the_other_resources() -> None:
    """They would take it for a failed run."""
    errors: list[BaseException] = []
    async with AsyncExitStack() as stack:
        container = Container(stack, PROVIDERS, {})
        assert "inner of outer" == await container.get("inner")
        container.closing_errors = errors
    assert (["announced"], ["can't be closed"]) == (CLOSED, [str(error) for error in errors])


async def test_before_the_work_is_done_the_error_is_raised() -> None:
    """And the other resources see it, as they see the error of a run."""
    with pytest.raises(ValueError, match="can't be closed"):
        async with AsyncExitStack() as stack:
            await Container(stack, PROVIDERS, {}).get("inner")
    assert [] == CLOSED
