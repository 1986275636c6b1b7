"""What a few keys of Redis are and hold, without fetching more than is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import AskError, MovedError

from oneoff.redis.client import each_primary
from oneoff.services.cache.scan import PAGE, is_one_key, pages
from oneoff.services.cache.value_preview import fetch, preview, shown_key

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.utils.redaction import Redactor

ROUNDS = 400
"""SCANs of one server at most: a pattern that matches nothing must not read a whole keyspace."""

_ASKED = ("TYPE", "PTTL", "MEMORY USAGE", "OBJECT ENCODING")


class Found(NamedTuple):
    """The keys found.

    Attributes:
        rows: Facts of each, in the order of their names.
        more: Whether others match too, or may: the search was given up.
        given_up_after: How many keys it had looked at then, about; 0 if it came to an end.
    """

    rows: list[dict[str, Any]]
    more: bool
    given_up_after: int


async def inspect(cache: Redis, pattern: str, limit: int, redactor: Redactor) -> Found:
    """Return facts about keys that match a pattern.

    The size is what a key takes in the server's memory, in bytes; the time to live is in seconds,
    None for a key that stays.
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
    return Found(rows, more, given_up_after)


async def _find(node: Redis, pattern: str, enough: int) -> tuple[list[bytes], int]:
    """Return keys of one server, and how many SCANs that took."""
    if is_one_key(pattern):
        return [pattern.encode(errors="surrogateescape")], 0
    found: dict[bytes, None] = {}
    rounds = 0
    async for page in pages(node, pattern):
        rounds += 1
        found.update(dict.fromkeys(page))
        if len(found) >= enough or rounds >= ROUNDS:
            break
    return list(found)[:enough], rounds


async def _facts(node: Redis, keys: Sequence[bytes], redactor: Redactor) -> list[dict[str, Any]]:
    asking: Any = node.pipeline(transaction=False)
    for key in keys:
        for question in _ASKED:
            asking.execute_command(question, key)
    answers = await asking.execute(raise_on_error=False)
    count = len(_ASKED)
    known = [
        (key, *answers[at * count : (at + 1) * count])
        for at, key in enumerate(keys)
        if _is_here(answers[at * count])
    ]
    sizes = {key: size if isinstance(size, int) else None for key, _, _, size, _ in known}
    values = await fetch(node, [(key, _text(kind), sizes[key]) for key, kind, *_ in known])
    return [
        {
            "key": shown_key(key),
            "type": _text(kind),
            "ttl": round(ttl / 1000) if isinstance(ttl, int) and ttl >= 0 else None,
            "bytes": sizes[key],
            "encoding": _text(encoding) or None,
            "value": preview(key, value, redactor),
        }
        for (key, kind, ttl, _, encoding), value in zip(known, values, strict=True)
    ]


def _is_here(kind: Any) -> bool:
    """Return whether the server has the key; raise what stands against telling."""
    if isinstance(kind, MovedError | AskError):
        return False  # another node of the cluster has it
    if isinstance(kind, Exception):
        raise kind
    return _text(kind) != "none"


def _text(answer: Any) -> str:
    if isinstance(answer, Exception):  # expired meanwhile, or not allowed to this user
        return ""
    return answer.decode() if isinstance(answer, bytes) else str(answer)
