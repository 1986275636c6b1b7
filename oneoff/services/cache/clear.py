"""Count and remove the keys that `cache clear` is asked for, one page at a time.

It uses none of KEYS, DEL and FLUSHDB: each of them blocks the server, and every other client, until
all keys are done. UNLINK frees the memory in a thread of the server's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, TryAgainError

from oneoff.core.errors import ConfigurationError
from oneoff.redis.client import as_cluster, each_primary
from oneoff.services.cache.scan import PAGE, KeyCounter, pages

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.core.project import Project
    from oneoff.runtime.progress import Progress

WINDOW = 40_000
"""Keys of one node of a cluster that are grouped by slot at a time.

One UNLINK may name keys of one slot only, and there are 16,384 slots: of 500 keys nearly each would
need a command of its own."""
LAST_ANSWER = 1.0
"""Seconds that a removal which is stopped waits for the answer to what it has sent."""
FRAMEWORK = (b"arq:", b"oneoff:")
"""Prefixes of keys that are no cache: jobs and their results, and the copy of a maintenance window.
"""

_MOVING = (AskError, MovedError, TryAgainError)


class KeySelection(NamedTuple):
    """Which keys to remove.

    Attributes:
        pattern: In the syntax of SCAN.
        include_framework: Whether to remove keys with a prefix of `FRAMEWORK` too.
        also_kept: Other keys to keep, from `worker_keys`.
    """

    pattern: str
    include_framework: bool = False
    also_kept: frozenset[bytes] = frozenset()

    def split(self, keys: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return the keys to remove, and those to keep."""
        if self.include_framework:
            return list(keys), []
        also = self.also_kept
        selected = [key for key in keys if not key.startswith(FRAMEWORK) and key not in also]
        if len(selected) == len(keys):  # nearly every page
            return selected, []
        return selected, [key for key in keys if key.startswith(FRAMEWORK) or key in also]


def worker_keys(project: Project) -> list[str]:
    """Return the keys of the project's worker without a prefix of `FRAMEWORK`.

    They are its queue and its heartbeat, if its settings name them otherwise than ARQ does.

    Raises:
        ConfigurationError: The worker can't be imported, so the keys are not known.
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


class KeyCounts(NamedTuple):
    """What was counted.

    Attributes:
        keys: Removed, or to be removed.
        kept: Keys of the framework that match too, and stay.
        exact: False if a key that SCAN returned twice may have been counted twice.
    """

    keys: int
    kept: int
    exact: bool


async def count_keys(cache: Redis, selection: KeySelection, progress: Progress) -> KeyCounts:
    """Count the keys that `clear_keys` would remove, each once up to `MOST_DISTINCT`."""
    selected, kept = KeyCounter(), KeyCounter()
    async with each_primary(cache) as primaries:
        for node in primaries:
            async for page in pages(node, selection.pattern):
                keys, others = selection.split(page)
                selected.add(keys)
                kept.add(others)
                progress.advance(len(keys))
    return KeyCounts(selected.total(), kept.total(), selected.exact and kept.exact)


async def clear_keys(cache: Redis, selection: KeySelection, progress: Progress) -> KeyCounts:
    """Remove the selected keys; those that others write meanwhile may stay.

    The next page is read while the last one is removed, on a connection of its own.

    Returns:
        The number that the server says it removed, so a key that SCAN returns twice counts once.
    """
    kept = KeyCounter()
    async with each_primary(cache) as primaries:
        removed = 0
        for node in primaries:
            removal = Removal(cache, node, progress)
            await removal.run(_batches(removal, selection, kept))
            removed += removal.removed
    return KeyCounts(removed, kept.total(), kept.exact)


async def _batches(
    removal: Removal, selection: KeySelection, kept: KeyCounter
) -> AsyncIterator[list[bytes]]:
    """Yield the selected keys of one server in batches of `removal.size`."""
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
    """Remove keys of one server.

    Args:
        cache: The client of all servers.
        node: The client of this server.
        progress: Advanced by the number of removed keys.

    Attributes:
        removed: How many keys were removed, as the server counted them.
        size: How many keys `remove` takes at a time.
    """

    def __init__(self, cache: Redis, node: Redis, progress: Progress) -> None:
        self._cluster, self.node, self._progress = as_cluster(cache), node, progress
        self.removed = 0
        self.size = WINDOW if self._cluster else PAGE

    async def run(self, batches: AsyncIterator[list[bytes]]) -> None:
        """Remove each batch while the next one is read."""
        pending: asyncio.Task[None] | None = None
        try:
            async for batch in batches:
                if pending is not None:
                    # A signal cancels this wait, not the removal itself: see below.
                    await asyncio.shield(pending)
                pending = asyncio.create_task(self.remove(batch))
            if pending is not None:
                await asyncio.shield(pending)
        finally:
            if pending is not None and not pending.done():
                # The server executes what was sent in any case. Waiting for its answer lets the
                # log say how many keys are gone.
                await asyncio.wait({pending}, timeout=LAST_ANSWER)
                pending.cancel()
                # An error now would hide why the removal was stopped.
                await asyncio.gather(pending, return_exceptions=True)

    async def remove(self, keys: Sequence[bytes]) -> None:
        """Remove keys, with pipelines of one page of keys each.

        A longer pipeline would make other clients wait until the server has worked through it.
        """
        groups = by_slot(keys) if self._cluster else _cut(keys)
        for commands in _filled(groups):
            pipeline: Any = self.node.pipeline(transaction=False)
            for group in commands:
                pipeline.execute_command("UNLINK", *group)
            answers = await pipeline.execute(raise_on_error=False)
            removed = 0
            for group, answer in zip(commands, answers, strict=True):
                removed += await self._removed_of(group, answer)
            self.removed += removed
            self._progress.advance(removed)

    async def _removed_of(self, keys: Sequence[bytes], answer: Any) -> int:
        """Return how many keys of one UNLINK were removed.

        While a slot moves to another node of the cluster, the node answers MOVED, ASK or TRYAGAIN
        and has removed nothing. The client of the cluster follows such answers, for one key at a
        time: of several, some may have moved already, and then no node has all of them.
        """
        if isinstance(answer, _MOVING) and self._cluster is not None:
            ask: Any = self._cluster.execute_command
            return sum([int(await ask("UNLINK", key)) for key in keys])
        if isinstance(answer, Exception):
            raise answer
        return int(answer)


def by_slot(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield keys in groups of one slot; a cluster refuses a command with keys of two slots."""
    groups: dict[int, list[bytes]] = {}
    for key in keys:
        groups.setdefault(key_slot(key), []).append(key)
    for group in groups.values():
        yield from _cut(group)


def _cut(keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), PAGE):
        yield list(keys[start : start + PAGE])


def _filled(groups: Iterable[list[bytes]]) -> Iterator[list[list[bytes]]]:
    """Yield as many groups together as hold one page of keys."""
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
