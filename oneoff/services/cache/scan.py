"""Read the keys of one Redis server page by page with SCAN, and read its patterns.

This module needs no driver: a command checks a pattern before it connects.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.asyncio import Redis

PAGE = 500
"""Keys that the server looks at in one SCAN, and removes in one pipeline: about 0.6 ms for each.

With 1,000 another client waits twice as long, and the whole takes no less time."""
MOST_DISTINCT = 4_000_000
"""Keys that a `KeyCounter` tells apart: 32 MiB of hashes."""
_PARTS = 256

_SPECIAL = re.compile(r"[*?\[\]\\^]")
_ELEMENT = re.compile(r"\\(.)|\[(?:\\.|[^\]])*\]?|[*?]", re.DOTALL)


def escaped(text: str) -> str:
    """Return the pattern that matches this text alone."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def is_everything(pattern: str) -> bool:
    """Return whether a pattern requires no particular text in a key: `*`, `?*`, `[a-z]*`."""
    return not _ELEMENT.sub(lambda found: found[1] or "", pattern)


def is_one_key(pattern: str) -> bool:
    """Return whether a pattern has no special character, so that it matches one key at most."""
    return not _SPECIAL.search(pattern)


async def pages(node: Redis, pattern: str) -> AsyncIterator[list[bytes]]:
    """Yield the keys of one server that match a pattern; a page may be empty.

    A key that exists during the whole SCAN is returned at least once. It can be returned twice
    if the server shrinks its hash table meanwhile.
    """
    ask: Any = node.execute_command
    match = pattern.encode(errors="surrogateescape")
    cursor = None
    # Only the cursor tells whether the SCAN has ended: the server also returns an empty page
    # when none of the keys that it looked at matches.
    while cursor != 0:
        cursor, keys = await ask("SCAN", cursor or 0, "MATCH", match, "COUNT", PAGE)
        yield keys


class KeyCounter:
    """Count each key once, although SCAN can return it twice.

    It stores a 64-bit hash of each key in an array, 8 bytes a key: a set of one million keys
    takes 65 MB. The arrays are divided by the last byte of the hash, so that `total` needs a set
    of one part at a time. Beyond `MOST_DISTINCT` keys it counts without comparing.
    """

    def __init__(self) -> None:
        self._hashes = [array("q") for _ in range(_PARTS)]
        self._stored = self._not_stored = 0

    @property
    def exact(self) -> bool:
        """Whether all keys were told apart; if not, `total` may be too high."""
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
