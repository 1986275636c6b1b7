"""What an operator is told when a run is stopped half way."""

from __future__ import annotations

import asyncio

import pytest

from oneoff.runtime.error_translation import explain


def deadline() -> TimeoutError:
    """Return what asyncio.timeout raises."""
    error = TimeoutError()
    error.__cause__ = asyncio.CancelledError()
    return error


@pytest.mark.parametrize("exc", [asyncio.CancelledError(), deadline(), RuntimeError("bug")])
def test_what_can_be_rolled_back_was(exc: BaseException) -> None:
    """The work of a transaction."""
    assert "its work was rolled back" in explain(exc).why


@pytest.mark.parametrize("exc", [asyncio.CancelledError(), deadline(), RuntimeError("bug")])
def test_what_can_not_be_rolled_back_stays(exc: BaseException) -> None:
    """Keys that are removed from Redis do not come back."""
    why = explain(exc, undone=False).why

    assert "rolled back" not in why
    assert "its work before that was kept; run the same command again to do the rest" in why
