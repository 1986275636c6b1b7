"""Invalid copies of the maintenance state, and faults in the reader itself."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
import structlog

from oneoff.database.engine import Database
from oneoff.services.maintenance import reader
from oneoff.services.maintenance.window import Window, decode
from tests.support.maintenance_fleet import Clock, Fleet, clock, fleet

__all__ = ["clock", "fleet"]


def copy_with(**facts: object) -> bytes:
    """Return a copy of a window with values that a reader can't use."""
    ours = {"id": "x", "started_at": "2026-01-01T00:00:00Z", "expires_at": None, "message": ""}
    return json.dumps({"window": ours | facts}).encode()


INVALID = [
    b"",
    b"{",
    b"\xff",
    b"[]",
    b"[" * 100_000,
    b'{"window": 1}',
    b'{"window": {"id": "x"}}',
    copy_with(expires_at="2099-01-01T00:00:00"),
    copy_with(started_at="2026-01-01"),
    copy_with(expires_at="9999-12-31T23:59:59-12:00"),
    copy_with(expires_at=4_000_000_000),
    copy_with(id=["x"]),
    copy_with(message={"text": "x"}),
    copy_with(message="\ud800"),
]


@pytest.mark.parametrize("text", INVALID, ids=lambda text: repr(text[:120]))
def test_an_invalid_copy_is_refused(text: bytes) -> None:
    """In particular, times that can't be compared with the clock."""
    with pytest.raises(ValueError, match="not a copy of a maintenance window"):
        decode(text)


async def test_an_invalid_copy_does_not_stop_the_application(fleet: Fleet, clock: Clock) -> None:
    """The state is read from the database."""
    window = await fleet.on()
    fleet.copy(copy_with(expires_at="2099-01-01T00:00:00"))

    assert window == await fleet.process().window()


async def test_a_key_of_another_type_is_ignored(fleet: Fleet, clock: Clock) -> None:
    """The state is read from the database."""
    window = await fleet.on()
    fleet.redis.rpush(fleet.key, "x")

    assert window == await fleet.process().window()


async def test_a_fault_in_the_reader_does_not_stop_the_application(
    fleet: Fleet, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it is a window that can't be compared with the clock."""
    process = fleet.process()

    async def wrong(_: Database) -> Window:
        naive = datetime(2099, 1, 1)  # noqa: DTZ001 - the fault of this test
        return Window("x", naive, naive)

    monkeypatch.setattr(reader, "read_window", wrong)
    with structlog.testing.capture_logs() as lines:
        assert [None, None] == [await process.window(), await process.window()]

    assert ["maintenance.reading_failed"] == [
        line["event"] for line in lines if line["log_level"] == "warning"
    ]
