"""Chain events by hashes, so that a change, a removal or a new order of events can be found.

The hash of an event is `sha256(previous || event)` in hex: `previous` is the hash of the event
before it, which is empty for the first one, and `event` is its JSON in UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple


class Head(NamedTuple):
    """The number and the hash of an event; the hash stands for all events before it, too."""

    seq: int
    hash: str

    def __str__(self) -> str:
        """Return `SEQ:HASH`."""
        return f"{self.seq}:{self.hash}"


def canonical_json(event: Mapping[str, Any]) -> str:
    """Return the event as JSON with sorted keys and no spaces; times are UTC with microseconds."""
    return json.dumps(
        event, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_as_text
    )


def read_event(event: str) -> dict[str, Any]:
    """Return the facts of an event; none if somebody has added one that is no object of JSON."""
    try:
        facts: Any = json.loads(event)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def next_hash(previous: str, event: str) -> str:
    """Return the hash of an event.

    Args:
        previous: The hash of the event before it; empty for the first one.
        event: Its JSON.
    """
    return sha256(f"{previous}{event}".encode()).hexdigest()


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        # A database rounds finer times, and then the event would not match its row.
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    raise TypeError(f"{type(value).__name__} has no place in an audit event")
