"""Count and remove the keys that `cache clear` selects, one page at a time.

It does not use KEYS, DEL or FLUSHDB, because each of them blocks the server and all other clients
until all keys are processed. UNLINK frees the memory in a separate thread of the server.
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

# One UNLINK may only have keys of one slot, and there are 16,384 slots. Among only 500 keys, nearly
# every key would need its own command.
WINDOW = 40_000
"""Keys of one cluster node that are grouped by slot at a time."""
LAST_ANSWER = 1.0
"""Seconds that a stopped removal waits for the answer to the commands it has sent."""
FRAMEWORK = (b"arq:", b"oneoff:")
"""Prefixes of keys that are not cache: jobs, results, and the copy of a maintenance window."""

_MOVING = (AskError, MovedError, TryAgainError)


class KeySelection(NamedTuple):
    """Which keys to remove.

    Attributes:
        pattern: Pattern of keys, in the syntax of SCAN.
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

    They are its queue and its heartbeat, if its settings give them other names than ARQ does.

    Raises:
        ConfigurationError: The worker can't be imported, so its keys are not known.
    """
    if not project.worker:
        return []
    from oneoff.services.jobs.worker_settings import load_worker

    try:
        worker = load_worker(project)
    except (ConfigurationError, ImportError, AttributeError) as exc:
        raise ConfigurationError(
            f"{project.worker} can't be imported: {exc}",
            why="its settings name the queue of the jobs, and that key must be kept",
            try_=(
                "fix the import, then check it: python manage.py jobs stats",
                "or remove jobs too: python manage.py cache clear --include-jobs --dry-run",
            ),
            code="bad-worker",
        ) from exc
    keys = (worker.queue, worker.health_check_key)
    return [key for key in keys if not key.encode().startswith(FRAMEWORK)]


class KeyCounts(NamedTuple):
    """Numbers of keys.

    Attributes:
        keys: Keys that were removed, or would be removed.
        kept: Keys of jobs and of oneoff that match the pattern and are kept.
        exact: False if a key that SCAN returned twice may have been counted twice.
    """

    keys: int
    kept: int
    exact: bool


async def count_keys(cache: Redis, selection: KeySelection, progress: Progress) -> KeyCounts:
    """Count the keys that `clear_keys` would remove, each once for up to `MOST_DISTINCT` keys."""
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
    """Remove the selected keys. Keys that other clients write meanwhile may remain.

    The next page is read on a separate connection while the last one is removed.

    Returns:
        The counts; `keys` is what the server reports, so a key that SCAN returns twice counts once.
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
        """Remove each batch of keys while the next one is read."""
        pending: asyncio.Task[None] | None = None
        try:
            async for batch in batches:
                if pending is not None:
                    # A signal cancels this wait, but not the removal itself: see below.
                    await asyncio.shield(pending)
                pending = asyncio.create_task(self.remove(batch))
            if pending is not None:
                await asyncio.shield(pending)
        finally:
            if pending is not None and not pending.done():
                # The server executes a command that was sent, even if the run is stopped. Wait for
                # its answer, so that the log has the number of removed keys.
                await asyncio.wait({pending}, timeout=LAST_ANSWER)
                pending.cancel()
                # Ignore its error: it would hide the reason why the removal was stopped.
                await asyncio.gather(pending, return_exceptions=True)

    async def remove(self, keys: Sequence[bytes]) -> None:
        """Remove keys, with pipelines of one page of keys each."""
        # While the server executes a pipeline, other clients wait: so keep each one short.
        groups = by_slot(keys) if self._cluster else _in_pages(keys)
        for commands in _pipelines(groups):
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
        """Return how many keys of one UNLINK were removed."""
        # While a slot moves to another node of the cluster, this node answers MOVED, ASK or
        # TRYAGAIN and removes nothing. The client of the cluster follows such answers. Send it one
        # key at a time: if some keys have already moved, no node has all of them.
        if isinstance(answer, _MOVING) and self._cluster is not None:
            ask: Any = self._cluster.execute_command
            return sum([int(await ask("UNLINK", key)) for key in keys])
        if isinstance(answer, Exception):
            raise answer
        return int(answer)


def by_slot(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield keys in groups of one slot, because a cluster refuses a command for several slots."""
    groups: dict[int, list[bytes]] = {}
    for key in keys:
        groups.setdefault(key_slot(key), []).append(key)
    for group in groups.values():
        yield from _in_pages(group)


def _in_pages(keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), PAGE):
        yield list(keys[start : start + PAGE])


def _pipelines(groups: Iterable[list[bytes]]) -> Iterator[list[list[bytes]]]:
    """Yield lists of groups which together have at most one page of keys."""
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
