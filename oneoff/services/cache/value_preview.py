"""Preview a value in Redis: show its start on one line, with secrets masked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError

from oneoff.utils.redaction import Redactor, is_secret_name
from oneoff.utils.secret_names import MASK

if TYPE_CHECKING:
    from redis.asyncio import Redis

WIDTH = 60
"""Most characters of a value that are shown."""
ITEMS = 5
"""Most items of a list, set, hash or sorted set that are shown. One more is fetched."""
FETCHED = 1_024
"""Bytes of a string that are fetched: more than shown, to recognise a secret that is cut off."""
LARGEST = 1_000_000
"""Size in bytes of the largest collection whose items are fetched: one item can be huge."""
BEGINNING = 4
"""Characters shown of the random part in the key of a secret: enough to find the key."""

_RANDOM = re.compile(r"(?<![\w\-])(?=[A-Za-z_\-]*+\d)[\w\-]{16,}+")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_BETWEEN = re.compile(r"[:./|#]")
_COMMANDS: Mapping[str, tuple[str, tuple[object, ...]]] = {
    "string": ("GETRANGE", (0, FETCHED - 1)),
    "list": ("LRANGE", (0, ITEMS)),
    "set": ("SSCAN", (0, "COUNT", ITEMS + 1)),
    "hash": ("HSCAN", (0, "COUNT", ITEMS + 1)),
    "zset": ("ZRANGE", (0, ITEMS)),
    "stream": ("XREVRANGE", ("+", "-", "COUNT", 1)),
}
_SCANS = ("SSCAN", "HSCAN")


async def fetch(node: Redis, keys: Sequence[tuple[bytes, str, int | None]]) -> list[Any]:
    """Fetch the data for previews, with one pipeline for all keys.

    Args:
        node: The server that has the keys.
        keys: Keys with their type and size in bytes.

    Returns:
        Bytes, a list or a mapping for each key; None if its type is unknown, its value is too
        large, or it no longer exists; the error if the user has no permission.
    """
    pipeline: Any = node.pipeline(transaction=False)
    asked = [_command(key, kind, size) for key, kind, size in keys]
    for command in filter(None, asked):
        pipeline.execute_command(*command)
    answers = iter(await pipeline.execute(raise_on_error=False))
    return [_items(command[0], next(answers)) if command else None for command in asked]


def preview(key: bytes, value: Any, redactor: Redactor) -> str | None:
    """Return the text to show for a value: the mask if the key is named like a secret."""
    if value is None:
        return None
    if _is_secret(_text(key)):
        return MASK
    items = [_text(value)] if isinstance(value, bytes) else _texts(value)
    if len(items) > ITEMS:
        items[ITEMS:] = ["…"]
    text = ", ".join(map(redactor.text, items))
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def shown_key(key: bytes) -> str:
    """Return the text to show for a key: only the start of a session id or token in it."""
    text = key.decode(errors="backslashreplace")
    if not _is_secret(text):
        return text
    return _RANDOM.sub(lambda found: found[0][:BEGINNING] + MASK, text)


def _is_secret(key: str) -> bool:
    """Return whether a part of the key is named like a secret: `session:9f86`, `sessions/9f86`."""
    parts = _BETWEEN.split(key)
    return any(is_secret_name(part) or is_secret_name(part.removesuffix("s")) for part in parts)


def _command(key: bytes, kind: str, size: int | None) -> tuple[Any, ...]:
    if kind not in _COMMANDS or (kind != "string" and (size is None or size > LARGEST)):
        return ()
    name, rest = _COMMANDS[kind]
    return (name, key, *rest)


def _items(command: str, answer: Any) -> Any:
    if isinstance(answer, NoPermissionError):
        return answer
    if isinstance(answer, Exception):  # the key has expired
        return None
    if command in _SCANS:
        answer = answer[1]
    if command == "XREVRANGE":
        return answer[0][1] if answer else {}
    if isinstance(answer, Mapping):
        return dict(sorted(answer.items()))
    return sorted(answer) if command == "SSCAN" else answer


def _texts(value: Mapping[bytes, bytes] | Iterable[bytes]) -> list[str]:
    if not isinstance(value, Mapping):
        texts = [_text(item) for item in value]
        # A list may have names and values in turn, so mask an item after the name of a secret.
        before = ["", *texts]
        return [
            MASK if is_secret_name(name) else text
            for name, text in zip(before, texts, strict=False)
        ]
    fields = ((_text(name), _text(item)) for name, item in value.items())
    return [f"{name}={MASK if is_secret_name(name) else item}" for name, item in fields]


def _text(value: bytes) -> str:
    if _PICKLE.match(value):
        return "(pickle)"  # secrets in a pickle can't be recognised
    return _printable(value.decode(errors="backslashreplace"))


def _printable(text: Iterable[str]) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
