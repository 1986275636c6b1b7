"""The error of a run that was stopped half way tells whether its work was kept."""

from __future__ import annotations

import asyncio

import pytest

from oneoff.runtime.error_translation import explain


def deadline() -> TimeoutError:
    """Return an error like that of asyncio.timeout."""
    error = TimeoutError()
    error.__cause__ = asyncio.CancelledError()
    return error


@pytest.mark.parametrize("exc", [asyncio.CancelledError(), deadline(), RuntimeError("bug")])
def test_the_error_says_that_the_work_was_rolled_back(exc: BaseException) -> None:
    """The work was done in a transaction."""
    assert "its work was rolled back" in explain(exc).why


@pytest.mark.parametrize("exc", [asyncio.CancelledError(), deadline(), RuntimeError("bug")])
def test_the_error_says_that_other_work_was_kept(exc: BaseException) -> None:
    """For example, keys that were removed from Redis can't be restored."""
    why = explain(exc, undone=False).why

    assert "rolled back" not in why
    assert "its work before that was kept; run the same command again to do the rest" in why
