"""The beginning of a value in Redis, as a person may see it: short, on one line, no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from oneoff.utils.redaction import MASK, Redactor, is_secret_name

if TYPE_CHECKING:
    from redis.asyncio import Redis

WIDTH = 60
"""Characters that are shown."""
ITEMS = 5
"""How many items of a list, set, hash or sorted set are shown; one more is fetched."""
FETCHED = 1_024
"""Bytes of a text that are fetched: a secret that begins in the preview is known by its rest."""
LARGEST = 1_000_000
"""Bytes of a collection above which none of its items is fetched: one alone may be huge."""

BEGINNING = 4
"""Characters that are shown of what is random in the key of a secret: enough to find it by."""

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
    """Return what the preview of each value is made of, with one question for all.

    Args:
        node: The server that has them.
        keys: Each with its type and its size in bytes.

    Returns:
        Bytes, a list or a mapping; None for a type that is unknown and a value too large or gone.
    """
    asking: Any = node.pipeline(transaction=False)
    asked = [_command(key, kind, size) for key, kind, size in keys]
    for command in filter(None, asked):
        asking.execute_command(*command)
    answers = iter(await asking.execute(raise_on_error=False))
    return [_items(command[0], next(answers)) if command else None for command in asked]


def preview(key: bytes, value: Any, redactor: Redactor) -> str | None:
    """Return the text to show of a value; masked whole where the key is named like a secret."""
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
    """Return a key as it may be shown: of a session's id or a token only its beginning."""
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
    if isinstance(answer, Exception):  # expired meanwhile, or not allowed to this user
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
        # A list may be names and values in turn.
        before = ["", *texts]
        return [
            MASK if is_secret_name(name) else text
            for name, text in zip(before, texts, strict=False)
        ]
    fields = ((_text(name), _text(item)) for name, item in value.items())
    return [f"{name}={MASK if is_secret_name(name) else item}" for name, item in fields]


def _text(value: bytes) -> str:
    if _PICKLE.match(value):
        return "(pickle)"  # a job and its arguments, where no secret could be recognised
    return _printable(value.decode(errors="backslashreplace"))


def _printable(text: Iterable[str]) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
