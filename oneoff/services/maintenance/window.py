"""A maintenance window, as every process sees it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from math import ceil
from typing import Any, NamedTuple


class Window(NamedTuple):
    """One time of maintenance.

    Attributes:
        id: Another one for each window; no secret.
        started_at: UTC.
        expires_at: When it ends by itself, UTC; None if it has to be ended.
        message: What visitors are told; may be empty.
    """

    id: str
    started_at: datetime
    expires_at: datetime | None = None
    message: str = ""

    def is_open(self, now: datetime | None = None) -> bool:
        """Return whether it has not ended by itself yet, on this machine's clock."""
        return self.expires_at is None or (now or datetime.now(UTC)) < self.expires_at

    def seconds_left(self, now: datetime | None = None) -> int | None:
        """Return in how many seconds it ends by itself, at least 1; None if it does not."""
        if self.expires_at is None:
            return None
        left = self.expires_at - (now or datetime.now(UTC))
        return max(ceil(left.total_seconds()), 1)


def encode(window: Window | None) -> bytes:
    """Return what stands in the copy; "no window" is a copy too, and not the same as none."""
    text = json.dumps({"window": None if window is None else _plain(window)})
    return text.encode()


def decode(copy: bytes) -> Window | None:
    """Read a copy.

    Raises:
        ValueError: It is not one of ours.
    """
    try:
        found: dict[str, Any] | None = json.loads(copy)["window"]
        if found is None:
            return None
        expires = found["expires_at"]
        return Window(
            id=_text(found["id"]),
            started_at=_time(found["started_at"]),
            expires_at=None if expires is None else _time(expires),
            message=_text(found["message"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as exc:
        message = "not a copy of a maintenance window"
        raise ValueError(message) from exc


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError
    found.encode()  # half a character, as JSON may hold it, could not be sent to anybody
    return found


def _time(found: str) -> datetime:
    time = datetime.fromisoformat(found)
    if time.tzinfo is None:
        raise ValueError  # it could not be compared with the clock
    return time.astimezone(UTC)


def _plain(window: Window) -> dict[str, Any]:
    expires = window.expires_at
    return window._asdict() | {
        "started_at": window.started_at.isoformat(),
        "expires_at": None if expires is None else expires.isoformat(),
    }
