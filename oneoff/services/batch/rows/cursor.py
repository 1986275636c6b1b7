"""Convert the key of a row to the JSON of a checkpoint, and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from oneoff.core.errors import ConfigurationError

_READERS: dict[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": UUID,
    "decimal": Decimal,
    "bytes": bytes.fromhex,
}


def encode(key: Any) -> str:
    """Return the key as JSON, from which `decode` returns an equal key of the same type.

    Raises:
        ConfigurationError: `batch-key`: a key can't have this type.
    """
    if isinstance(key, str | int | float) and not isinstance(key, bool):
        return json.dumps(key, ensure_ascii=False)
    kind, text = _tagged(key)
    return json.dumps({kind: text})


def decode(text: str) -> Any:
    """Return the key that `encode` wrote."""
    value = json.loads(text)
    if not isinstance(value, dict):
        return value
    ((kind, word),) = value.items()
    return _READERS[kind](word)


def readable(text: str | None) -> str:
    """Return the cursor of a checkpoint as text for messages."""
    return "the beginning" if text is None else str(decode(text))


def _tagged(key: Any) -> tuple[str, str]:
    if isinstance(key, datetime):  # before `date`: a datetime is also a date
        return "datetime", (key.astimezone(UTC) if key.tzinfo else key).isoformat()
    if isinstance(key, date):
        return "date", key.isoformat()
    if isinstance(key, bytes):
        return "bytes", key.hex()
    if isinstance(key, UUID | Decimal):
        return type(key).__name__.lower(), str(key)
    raise ConfigurationError(
        f"a {type(key).__name__} can't be the key of a batch",
        why="a checkpoint stores numbers, texts, bytes, dates, datetimes, decimals and UUIDs",
        try_="declare another unique column: key = ...",
        code="batch-key",
    )
