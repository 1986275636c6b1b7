"""Describe a maintenance window, its pass, and its form in the copy in Redis.

The pass is a header that lets an operator through. It consists of the window's id and a signature
with SECRET_KEY. So the pass need not be stored, every process can check it without the database,
and it ends with its window.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from math import ceil
from typing import Any, NamedTuple

_PURPOSE = b"oneoff maintenance pass "  # the key may also sign other things


class Window(NamedTuple):
    """One maintenance window.

    Attributes:
        id: Unique for each window; not a secret.
        started_at: UTC.
        expires_at: When the window ends automatically, UTC; None if an operator has to end it.
        message: The text for visitors; may be empty.
    """

    id: str
    started_at: datetime
    expires_at: datetime | None = None
    message: str = ""

    def is_open(self, now: datetime | None = None) -> bool:
        """Return whether the window has not expired yet, by this machine's clock."""
        return self.expires_at is None or (now or datetime.now(UTC)) < self.expires_at

    def seconds_left(self, now: datetime | None = None) -> int | None:
        """Return the seconds until the window expires, at least 1; None if it never expires."""
        if self.expires_at is None:
            return None
        left = self.expires_at - (now or datetime.now(UTC))
        return max(ceil(left.total_seconds()), 1)


def encode(window: Window | None) -> bytes:
    """Return the copy for Redis. If no window is open, the copy states that: the key exists."""
    text = json.dumps({"window": None if window is None else _plain(window)})
    return text.encode()


def decode(copy: bytes) -> Window | None:
    """Return the window that a copy from Redis describes.

    Raises:
        ValueError: The bytes are not a copy that `encode` wrote.
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
    found.encode()  # JSON can contain a lone surrogate, which can't be sent in a response
    return found


def _time(found: str) -> datetime:
    time = datetime.fromisoformat(found)
    if time.tzinfo is None:
        raise ValueError  # a time without a zone can't be compared with the clock
    return time.astimezone(UTC)


def _plain(window: Window) -> dict[str, Any]:
    expires = window.expires_at
    return window._asdict() | {
        "started_at": window.started_at.isoformat(),
        "expires_at": None if expires is None else expires.isoformat(),
    }


def make_pass(secret_key: str, window_id: str) -> str:
    """Return the pass through one window: `<window id>.<64 hex digits>`."""
    message = _PURPOSE + window_id.encode()
    return f"{window_id}.{hmac.new(secret_key.encode(), message, hashlib.sha256).hexdigest()}"


def is_pass(secret_key: str, window_id: str, given: bytes) -> bool:
    """Return whether a value is the pass through a window, compared in constant time.

    Args:
        secret_key: SECRET_KEY; if it is empty, no value is a pass.
        window_id: The id of the window that is open now.
        given: The value that the client sent.
    """
    if not secret_key:
        return False
    return hmac.compare_digest(make_pass(secret_key, window_id).encode(), given)
