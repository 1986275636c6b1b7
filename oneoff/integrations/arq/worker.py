"""Hooks for an ARQ worker: connection, log context, pauses, and the function for shards."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from arq.worker import Function, func

from oneoff.config.redis_url import RedisURL, redis_url
from oneoff.integrations.process_logs import configure_logging
from oneoff.redis.errors import translate_redis_error
from oneoff.services.jobs import shard_queue
from oneoff.services.jobs.redis_settings import OUTAGES, redis_settings

if TYPE_CHECKING:
    from arq.connections import RedisSettings

    from oneoff.config.settings import Config
    from oneoff.core.project import Project

OUTAGE = 30.0
"""Seconds that a worker waits while Redis is unavailable, before it ends and is restarted."""
OUTAGE_PAUSE = 0.25
"""Seconds between two attempts to connect."""

_log = structlog.get_logger("oneoff.worker")


class WindowReader(Protocol):
    """Reads whether a maintenance window is open: see `oneoff.services.maintenance.reader`."""

    async def window(self) -> object | None:
        """Return the open window, or None. Must not raise an error."""
        ...


class WorkerConnection:
    """The `redis_settings` of a worker. They end its process if its settings are wrong.

    ARQ reads an attribute of this object when it connects, before anything else. This configures
    the logs of the process and checks its settings. After that, an error of Redis ends the process
    with one line instead of a traceback.

    Commands import the worker too, to read its functions. For them nothing is read or checked.

    Args:
        config: The settings of the process. Those of its project are checked too.
    """

    def __init__(self, config: Config) -> None:
        self._config = config

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the checked settings.

        Raises:
            ConfigurationError: Lists every problem with the settings.
        """
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._checked, name)

    @cached_property
    def _checked(self) -> RedisSettings:
        from oneoff.services.settings import check_settings

        configure_logging("worker", self._config)
        check_settings(self._config)
        settings = redis_settings(self._config)
        sys.excepthook = _translating_redis_errors(sys.excepthook, redis_url(self._config))
        return settings


def _translating_redis_errors(report: Callable[..., Any], url: RedisURL) -> Callable[..., Any]:
    """Return an excepthook that reports an error of Redis as a command would."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        named = translate_redis_error(error, url)
        report(*((kind, error, trace) if named is None else (type(named), named, trace)))

    return hook


async def bind_job(ctx: Mapping[Any, Any]) -> None:
    """Add the job's id and try to every line that it logs: for `on_job_start`.

    Args:
        ctx: The context of the job, which ARQ passes.
    """
    # Each job runs in a separate asyncio task with its own context, so nothing has to be unbound.
    structlog.contextvars.bind_contextvars(job_id=ctx["job_id"], job_try=ctx["job_try"])


def outlive_outages(ctx: Mapping[Any, Any]) -> None:
    """Make this worker wait while Redis is unavailable, up to `OUTAGE`: for `on_startup`.

    Without it, a restart of Redis ends the process and its running jobs, because the driver tries
    to connect only once.

    Args:
        ctx: The context of the worker, which ARQ passes. Its connection is changed.
    """
    # Every command and every pipeline gets its connection from `get_connection`.
    pool = ctx["redis"].connection_pool
    connect, outage = pool.get_connection, _Outage(pool.connection_kwargs)

    async def connect_with_retries(*args: Any, **kwargs: Any) -> Any:
        while True:
            try:
                connection = await connect(*args, **kwargs)
            except OUTAGES as exc:
                if outage.is_over(exc):
                    raise
            else:
                outage.end()
                return connection
            await asyncio.sleep(OUTAGE_PAUSE)

    pool.get_connection = connect_with_retries


class _Outage:
    """One outage of Redis, for all connections of this process.

    Each outage has one deadline for all connections. So closing the worker after the deadline does
    not wait again.

    Args:
        address: Host and port of the server.
    """

    def __init__(self, address: Mapping[str, Any]) -> None:
        self._server = f"{address.get('host')}:{address.get('port')}"
        self._since: float | None = None

    def is_over(self, error: Exception) -> bool:
        """Record a failure; return whether the outage has lasted too long."""
        if self._since is None:
            self._since = monotonic()
            _log.warning("redis.lost", server=self._server, error=type(error).__name__)
        return monotonic() - self._since > OUTAGE

    def end(self) -> None:
        """Record that Redis answers."""
        if self._since is not None:
            seconds = round(monotonic() - self._since, 1)
            _log.info("redis.regained", server=self._server, seconds=seconds)
            self._since = None


def pause_during_maintenance(ctx: Mapping[Any, Any], reader: WindowReader) -> None:
    """Make this worker take no jobs while a maintenance window is open: for `on_startup`.

    Running jobs are finished. Waiting jobs are not changed, and no try of them is counted, because
    the worker does not read the queue. Each cron job is queued at most once during the window:
    otherwise all runs that were due in it would start at its end.

    Args:
        ctx: The worker's context, whose connection reads the queue.
        reader: Read before each read of the queue, twice a second.
    """
    pool = ctx["redis"]
    read, enqueue, queue = pool.zrangebyscore, pool.enqueue_job, pool.default_queue_name
    paused, queued_crons = False, set[str]()

    async def enqueue_cron_once(function: str, *args: Any, **kwargs: Any) -> Any:
        if paused and _is_cron(function, kwargs.get("_job_id")):
            if function in queued_crons:
                return None
            queued_crons.add(function)
        return await enqueue(function, *args, **kwargs)

    async def read_unless_paused(name: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal paused
        # The worker polls its queue with ZRANGEBYSCORE. An empty answer means that no job is due.
        if name != queue:
            return await read(name, *args, **kwargs)
        before, paused = paused, await reader.window() is not None
        if paused is not before:
            queued_crons.clear()
            _log.info("worker.paused" if paused else "worker.resumed", queue=queue)
        return [] if paused else await read(name, *args, **kwargs)

    pool.zrangebyscore = read_unless_paused
    pool.enqueue_job = enqueue_cron_once


def _is_cron(function: str, job_id: str | None) -> bool:
    """Return whether ARQ's scheduler queues this job; its ids end with the time in milliseconds."""
    name, _, due = (job_id or "").rpartition(":")
    return (name == function and due.isdecimal()) or (not job_id and function.startswith("cron:"))


def shard_function(
    project: Project, root: str, environ: Mapping[str, str] | None = None
) -> Function:
    """Return the function with which a worker joins the fleet of a batch: for its `functions`.

    ARQ calls it with the id of a shard, which `ShardQueue.put` has queued.

    Args:
        project: The project whose commands it runs.
        root: The project's root folder.
        environ: Replaces the process environment in tests.
    """

    async def oneoff_shard(ctx: dict[Any, Any], shard: str) -> str:
        """Work on a shard for one turn."""
        # Imported for the first such job only, because these load SQLAlchemy and the executor.
        from oneoff.integrations.arq.shard_job import do_shard_job
        from oneoff.runtime.application import Application

        fence = await do_shard_job(Application(project, root, environ), shard)
        if fence is None:
            return "nothing to do for now"
        await ctx["redis"].enqueue_job(
            shard_queue.NAME, shard, _job_id=shard_queue.job_id_of(shard, fence)
        )
        return "continues in another job"

    # Keep no result: while ARQ keeps one, it accepts no other job with the same id.
    return func(
        oneoff_shard,
        name=shard_queue.NAME,
        timeout=shard_queue.TIMEOUT,
        keep_result=0,
        max_tries=shard_queue.MAX_TRIES,
    )
