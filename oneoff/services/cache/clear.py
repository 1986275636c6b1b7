"""Read and remove the keys of a Redis, page by page: never all of them at once.

Nothing here uses KEYS, DEL or FLUSHDB, each of which would hold up every other client. On a
cluster each primary is read by a client of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, TryAgainError

from oneoff.core.errors import ConfigurationError
from oneoff.redis.client import as_cluster, each_primary
from oneoff.services.cache.distinct import DistinctCounter

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.core.project import Project
    from oneoff.runtime.progress import Progress

PAGE = 500
"""Keys a server looks at in one SCAN, and removes in one go: about 0.6 ms of its time for each.

With 1,000 another client waits twice as long, and the whole takes no less time."""
WINDOW = 40_000
"""Keys of one node of a cluster that are sorted by slot at a time."""
LAST_ANSWER = 1.0
"""Seconds that a removal which is stopped waits for what it has sent."""
FRAMEWORK = (b"arq:", b"oneoff:")
"""How keys begin that are no cache: jobs and their results, and the marks of maintenance."""

_MOVING = (AskError, MovedError, TryAgainError)


class Selection(NamedTuple):
    """Which keys are meant.

    Attributes:
        pattern: As SCAN understands it.
        include_framework: Whether those that begin as `FRAMEWORK` says are meant too.
        also_kept: Other keys that are the framework's, as from `keys_of_worker`.
    """

    pattern: str
    include_framework: bool = False
    also_kept: frozenset[bytes] = frozenset()

    def split(self, keys: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return the keys that are meant, and those of the framework, which stay."""
        if self.include_framework:
            return list(keys), []
        also = self.also_kept
        meant = [key for key in keys if not key.startswith(FRAMEWORK) and key not in also]
        if len(meant) == len(keys):
            return meant, []
        return meant, [key for key in keys if key.startswith(FRAMEWORK) or key in also]


def keys_of_worker(project: Project) -> list[str]:
    """Return the keys that the project's worker has named itself: queue and sign of life.

    Raises:
        ConfigurationError: The worker can't be imported: nobody knows then which they are.
    """
    if not project.worker:
        return []
    from oneoff.services.jobs.worker_settings import load_worker

    try:
        worker = load_worker(project)
    except (ConfigurationError, ImportError, AttributeError) as exc:
        raise ConfigurationError(
            f"{project.worker} can't be imported: {exc}",
            why="it says which key is the queue of the jobs, and that key must stay",
            try_=(
                "mend it: python manage.py jobs stats",
                "or lose jobs too: python manage.py cache clear --include-jobs --dry-run",
            ),
            code="bad-worker",
        ) from exc
    keys = (worker.queue, worker.health_check_key)
    return [key for key in keys if not key.encode().startswith(FRAMEWORK)]


class Tally(NamedTuple):
    """What was counted.

    Attributes:
        keys: Removed, or to be removed; each once.
        kept: Keys of the framework that match too, and stay.
    """

    keys: int
    kept: int


async def count(cache: Redis, selection: Selection, progress: Progress) -> Tally:
    """Count the keys that `clear` would remove.

    A server that resizes its table meanwhile may show a key twice, so each one is remembered, in
    bounded memory.
    """
    with DistinctCounter() as meant, DistinctCounter() as kept:
        async with each_primary(cache) as primaries:
            for node in primaries:
                async for page in pages(node, selection.pattern):
                    keys, others = selection.split(page)
                    meant.add(keys)
                    kept.add(others)
                    progress.advance(len(keys))
        return Tally(meant.count(), kept.count())


async def clear(cache: Redis, selection: Selection, progress: Progress) -> Tally:
    """Remove the keys that are meant; those that others write meanwhile may stay.

    The next page is read while the last one is removed, each on a connection of its own.

    Returns:
        What the server says it removed: a key that it shows twice counts once.
    """
    with DistinctCounter() as kept:
        async with each_primary(cache) as primaries:
            removed = 0
            for node in primaries:
                removal = Removal(cache, node, progress)
                await removal.run(doomed_of(removal, selection, kept))
                removed += removal.removed
        return Tally(removed, kept.count())


async def pages(node: Redis, pattern: str) -> AsyncIterator[list[bytes]]:
    """Yield the keys of one server that match, as it finds them; a page may be empty.

    A key that is there from beginning to end comes at least once.
    """
    ask: Any = node.execute_command
    match = pattern.encode(errors="surrogateescape")
    cursor = None
    while cursor != 0:
        cursor, keys = await ask("SCAN", cursor or 0, "MATCH", match, "COUNT", PAGE)
        yield keys


async def doomed_of(
    removal: Removal, selection: Selection, kept: DistinctCounter
) -> AsyncIterator[list[bytes]]:
    """Yield the keys of one server that are meant, as many together as are removed together."""
    batch: list[bytes] = []
    async for page in pages(removal.node, selection.pattern):
        keys, others = selection.split(page)
        kept.add(others)
        batch += keys
        if len(batch) >= removal.size:
            yield batch
            batch = []
    yield batch


class Removal:
    """Removes keys of one server.

    Args:
        cache: The client of all servers.
        node: That of this one.
        progress: Is told of every key.

    Attributes:
        removed: How many keys were, as the server counted.
        size: How many keys it wants at a time.
    """

    def __init__(self, cache: Redis, node: Redis, progress: Progress) -> None:
        self._cluster, self.node, self._progress = as_cluster(cache), node, progress
        self.removed = 0
        self.size = WINDOW if self._cluster else PAGE

    async def run(self, batches: AsyncIterator[list[bytes]]) -> None:
        """Remove each batch while the next one is read."""
        under_way: asyncio.Task[None] | None = None
        try:
            async for batch in batches:
                if under_way is not None:
                    await asyncio.shield(under_way)
                under_way = asyncio.create_task(self.remove(batch))
            if under_way is not None:
                await asyncio.shield(under_way)
        finally:
            if under_way is not None and not under_way.done():
                # What was sent is done anyway: a moment for its answer, so that it is counted.
                await asyncio.wait({under_way}, timeout=LAST_ANSWER)
                under_way.cancel()
                # What it fails with now is no news: the removal has been stopped.
                await asyncio.gather(under_way, return_exceptions=True)

    async def remove(self, keys: Sequence[bytes]) -> None:
        """Remove keys, in pipelines of one page."""
        groups = by_slot(keys) if self._cluster else _cut(keys)
        for some in _filled(groups):
            pipeline: Any = self.node.pipeline(transaction=False)
            for group in some:
                pipeline.execute_command("UNLINK", *group)
            answers = await pipeline.execute(raise_on_error=False)
            removed = 0
            for group, answer in zip(some, answers, strict=True):
                removed += await self._settled(group, answer)
            self.removed += removed
            self._progress.advance(removed)

    async def _settled(self, keys: Sequence[bytes], answer: Any) -> int:
        """Return how many were removed; follow those that are moving to another node."""
        if isinstance(answer, _MOVING) and self._cluster is not None:
            ask: Any = self._cluster.execute_command
            return sum([int(await ask("UNLINK", key)) for key in keys])
        if isinstance(answer, Exception):
            raise answer
        return int(answer)


def by_slot(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the keys in groups of one slot, which a cluster removes with one command."""
    groups: dict[int, list[bytes]] = {}
    for key in keys:
        groups.setdefault(key_slot(key), []).append(key)
    for group in groups.values():
        yield from _cut(group)


def _cut(keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), PAGE):
        yield list(keys[start : start + PAGE])


def _filled(groups: Iterable[list[bytes]]) -> Iterator[list[list[bytes]]]:
    """Yield groups together until they hold a page of keys."""
    filled: list[list[bytes]] = []
    size = 0
    for group in groups:
        if size + len(group) > PAGE and filled:
            yield filled
            filled, size = [], 0
        filled.append(group)
        size += len(group)
    if filled:
        yield filled
