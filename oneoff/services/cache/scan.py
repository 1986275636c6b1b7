"""Read the keys of one Redis server in pages with SCAN, and interpret key patterns.

This module does not import the driver, because a command checks a pattern before it connects.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.asyncio import Redis

# One SCAN and one pipeline of this size each take about 0.6 ms. With 1,000 keys, other clients wait
# twice as long, and the total time is not shorter.
PAGE = 500
"""Keys that the server checks in one SCAN, and removes in one pipeline."""
MOST_DISTINCT = 4_000_000
"""Keys whose hashes a `KeyCounter` stores, which takes 32 MiB."""
_PARTS = 256  # arrays of hashes in a KeyCounter

_SPECIAL = re.compile(r"[*?\[\]\\^]")
_ELEMENT = re.compile(r"\\(.)|\[(?:\\.|[^\]])*\]?|[*?]", re.DOTALL)


def escaped(text: str) -> str:
    """Return a pattern that matches exactly this text."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def is_everything(pattern: str) -> bool:
    """Return whether a pattern requires no particular text in a key: `*`, `?*`, `[a-z]*`."""
    return not _ELEMENT.sub(lambda found: found[1] or "", pattern)


def is_one_key(pattern: str) -> bool:
    """Return whether a pattern has no special character, so that it matches at most one key."""
    return not _SPECIAL.search(pattern)


async def pages(node: Redis, pattern: str) -> AsyncIterator[list[bytes]]:
    """Yield the keys of one server that match a pattern; a page may be empty.

    A key that exists during the entire SCAN is returned at least once. It can be returned twice
    if the server shrinks its hash table meanwhile.
    """
    ask: Any = node.execute_command
    match = pattern.encode(errors="surrogateescape")
    cursor = None
    # Only the cursor shows whether the SCAN has ended. An empty page just means that none of the
    # keys that the server checked matches.
    while cursor != 0:
        cursor, keys = await ask("SCAN", cursor or 0, "MATCH", match, "COUNT", PAGE)
        yield keys


class KeyCounter:
    """Count each key once, although SCAN can return it twice.

    After `MOST_DISTINCT` keys, it counts without comparing.
    """

    # Each key takes 8 bytes: a 64-bit hash in an array. A set of one million keys would take 65 MB.
    # The hashes are divided into arrays by their last byte, so that `total` needs a set of only one
    # array at a time.
    def __init__(self) -> None:
        self._hashes = [array("q") for _ in range(_PARTS)]
        self._stored = self._not_stored = 0

    @property
    def exact(self) -> bool:
        """Whether all keys were compared; if not, `total` may be too high."""
        return not self._not_stored

    def add(self, keys: Iterable[bytes]) -> None:
        """Add keys, which may have been added before."""
        for key in keys:
            if self._stored < MOST_DISTINCT:
                number = hash(key)
                self._hashes[number % _PARTS].append(number)
                self._stored += 1
            else:
                self._not_stored += 1

    def total(self) -> int:
        """Return the number of different keys."""
        return sum(len(set(part)) for part in self._hashes) + self._not_stored
