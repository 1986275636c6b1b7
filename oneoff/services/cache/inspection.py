"""Describe keys of Redis, and fetch only the part of their values that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import AskError, MovedError, NoPermissionError

from oneoff.redis.client import each_primary
from oneoff.services.cache.scan import PAGE, is_one_key, pages
from oneoff.services.cache.value_preview import fetch, preview, shown_key

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.utils.redaction import Redactor

ROUNDS = 400
"""Most SCANs of one server, so that a pattern that matches nothing does not read all keys."""

HIDDEN = "(no permission)"
"""Shown for a value that the user of REDIS_URL may not read."""

_COMMANDS = ("TYPE", "PTTL", "MEMORY USAGE", "OBJECT ENCODING")


class Inspection(NamedTuple):
    """The keys that were found.

    Attributes:
        rows: Facts about each key, sorted by name.
        more: Whether other keys match, or may match because the search stopped early.
        given_up_after: About how many keys were scanned if the search stopped early; 0 otherwise.
    """

    rows: list[dict[str, Any]]
    more: bool
    given_up_after: int


async def inspect(cache: Redis, pattern: str, limit: int, redactor: Redactor) -> Inspection:
    """Return facts about at most `limit` keys that match a pattern.

    `bytes` is the memory that a key takes in the server. `ttl` is in seconds; None for a key
    without an expiry.
    """
    rows: list[dict[str, Any]] = []
    given_up_after = 0
    async with each_primary(cache) as primaries:
        for node in primaries:
            keys, rounds = await _find(node, pattern, limit + 1 - len(rows))
            given_up_after += rounds * PAGE if rounds >= ROUNDS else 0
            rows += await _facts(node, keys, redactor)
            if len(rows) > limit:
                break
    more = len(rows) > limit or bool(given_up_after)
    rows = sorted(rows[:limit], key=lambda row: str(row["key"]))
    return Inspection(rows, more, given_up_after)


async def _find(node: Redis, pattern: str, limit: int) -> tuple[list[bytes], int]:
    """Return at most `limit` keys of one server, and the number of SCANs."""
    if is_one_key(pattern):
        return [pattern.encode(errors="surrogateescape")], 0
    found: dict[bytes, None] = {}  # SCAN can return a key twice
    rounds = 0
    async for page in pages(node, pattern):
        rounds += 1
        found.update(dict.fromkeys(page))
        if len(found) >= limit or rounds >= ROUNDS:
            break
    return list(found)[:limit], rounds


async def _facts(node: Redis, keys: Sequence[bytes], redactor: Redactor) -> list[dict[str, Any]]:
    pipeline: Any = node.pipeline(transaction=False)
    for key in keys:
        for command in _COMMANDS:
            pipeline.execute_command(command, key)
    answers = await pipeline.execute(raise_on_error=False)
    count = len(_COMMANDS)
    existing = [
        (key, *answers[at * count : (at + 1) * count])
        for at, key in enumerate(keys)
        if _exists(answers[at * count])
    ]
    sizes = {key: size if isinstance(size, int) else None for key, _, _, size, _ in existing}
    values = await fetch(node, [(key, _text(kind), sizes[key]) for key, kind, *_ in existing])
    return [
        {
            "key": shown_key(key),
            "type": _text(kind) or None,
            "ttl": round(ttl / 1000) if isinstance(ttl, int) and ttl >= 0 else None,
            "bytes": sizes[key],
            "encoding": _text(encoding) or None,
            "value": _value(key, kind, value, redactor),
        }
        for (key, kind, ttl, _, encoding), value in zip(existing, values, strict=True)
    ]


def _value(key: bytes, kind: Any, value: Any, redactor: Redactor) -> str | None:
    if any(isinstance(answer, NoPermissionError) for answer in (kind, value)):
        return HIDDEN
    return preview(key, value, redactor)


def _exists(kind: Any) -> bool:
    """Return whether the answer to TYPE means that the key exists; raise if it is an error."""
    if isinstance(kind, MovedError | AskError):
        return False  # another node of the cluster has the key
    if isinstance(kind, NoPermissionError):
        return True  # an ACL hides it
    if isinstance(kind, Exception):
        raise kind
    return _text(kind) != "none"


def _text(answer: Any) -> str:
    if isinstance(answer, Exception):  # the key has expired, or this user has no permission
        return ""
    return answer.decode() if isinstance(answer, bytes) else str(answer)
