"""Hooks for an ARQ worker: its connection, log context, pauses, and the function for shards."""

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
"""Seconds a worker waits for a Redis that is down, before it ends and its platform restarts it."""
OUTAGE_PAUSE = 0.25
"""Seconds between two attempts."""

_log = structlog.get_logger("oneoff.worker")


class WindowReader(Protocol):
    """Knows whether a maintenance window is open: see `oneoff.services.maintenance.reader`."""

    async def window(self) -> object | None:
        """Return the open window, or None; must not raise."""
        ...


class WorkerConnection:
    """The `redis_settings` of a worker, which end its process if the settings are wrong.

    Commands import the worker too, to know its functions; for them nothing is read or checked. ARQ
    reads an attribute here when it connects, before anything else. Then the logs of the process are
    configured, its settings are checked, and an error of Redis ends it with one line instead of a
    traceback.

    Args:
        config: The process's settings.
        project: Whose own settings are checked with them.
    """

    def __init__(self, config: Config, project: Project) -> None:
        self._config, self._project = config, project

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the checked settings.

        Raises:
            ConfigurationError: Everything that is wrong with the settings, together.
        """
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._checked, name)

    @cached_property
    def _checked(self) -> RedisSettings:
        from oneoff.services.settings import check_settings

        configure_logging("worker", self._config)
        check_settings(self._config, self._project)
        settings = redis_settings(self._config)
        sys.excepthook = _naming_redis(sys.excepthook, redis_url(self._config))
        return settings


def _naming_redis(report: Callable[..., Any], url: RedisURL) -> Callable[..., Any]:
    """Report an error of Redis as the error that a command would end with."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        named = translate_redis_error(error, url)
        report(*((kind, error, trace) if named is None else (type(named), named, trace)))

    return hook


async def bind_job(ctx: Mapping[Any, Any]) -> None:
    """Put the job's id and try on every line it logs: for `on_job_start`.

    Each job runs in a task of its own, and so in a context of its own: nothing has to be unbound.
    """
    structlog.contextvars.bind_contextvars(job_id=ctx["job_id"], job_try=ctx["job_try"])


def outlive_outages(ctx: Mapping[Any, Any]) -> None:
    """Let this worker wait while Redis is down for a moment: for `on_startup`.

    Without it a restart of Redis ends the process with the jobs that it runs, since the driver does
    not try a second time to connect.
    """
    pool = ctx["redis"].connection_pool
    connect, outage = pool.get_connection, _Outage(pool.connection_kwargs)

    async def connect_patiently(*args: Any, **kwargs: Any) -> Any:
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

    pool.get_connection = connect_patiently


class _Outage:
    """For how long Redis has been down, for all connections of this process together.

    There is one deadline for each outage, so that closing the worker after it does not wait again.

    Args:
        address: Host and port of the server.
    """

    def __init__(self, address: Mapping[str, Any]) -> None:
        self._server = f"{address.get('host')}:{address.get('port')}"
        self._since: float | None = None

    def is_over(self, error: Exception) -> bool:
        """Take note of a failure; return whether the outage has lasted too long."""
        if self._since is None:
            self._since = monotonic()
            _log.warning("redis.lost", server=self._server, error=type(error).__name__)
        return monotonic() - self._since > OUTAGE

    def end(self) -> None:
        """Take note that Redis answers."""
        if self._since is not None:
            seconds = round(monotonic() - self._since, 1)
            _log.info("redis.regained", server=self._server, seconds=seconds)
            self._since = None


def pause_during_maintenance(ctx: Mapping[Any, Any], reader: WindowReader) -> None:
    """Let this worker take no job while a maintenance window is open: for `on_startup`.

    Jobs that run are finished. Those that wait stay as they are, and no try of them is counted:
    the worker does not read the queue.

    Args:
        ctx: The worker's context; the worker reads the queue with its connection.
        reader: Asked before each of these reads, twice a second.
    """
    pool = ctx["redis"]
    read, queue, paused = pool.zrangebyscore, pool.default_queue_name, False

    async def read_unless_paused(name: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal paused
        if name != queue:
            return await read(name, *args, **kwargs)
        before, paused = paused, await reader.window() is not None
        if paused is not before:
            _log.info("worker.paused" if paused else "worker.resumed", queue=queue)
        return [] if paused else await read(name, *args, **kwargs)

    pool.zrangebyscore = read_unless_paused


def shard_function(
    project: Project, root: str, environ: Mapping[str, str] | None = None
) -> Function:
    """Return the function that lets a worker take part in `--fleet`: for its `functions`.

    ARQ calls it with the id of a shard, which `ShardQueue.put` has queued. The work is done by
    `do_shard_job`, which is imported with the first such job: it loads SQLAlchemy and the executor.

    Args:
        project: Whose commands it runs.
        root: The project's root folder.
        environ: Instead of the process environment, for tests.
    """

    async def oneoff_shard(ctx: dict[Any, Any], shard: str) -> str:
        """Work on a shard for one turn."""
        from oneoff.integrations.arq.shard_job import do_shard_job
        from oneoff.runtime.application import Application

        fence = await do_shard_job(Application(project, root, environ), shard)
        if fence is None:
            return "nothing is left to do for now"
        await ctx["redis"].enqueue_job(
            shard_queue.NAME, shard, _job_id=shard_queue.job_id_of(shard, fence)
        )
        return "goes on in another job"

    # No result is kept: while ARQ keeps one, it accepts no other job with the same id.
    return func(
        oneoff_shard,
        name=shard_queue.NAME,
        timeout=shard_queue.TIMEOUT,
        keep_result=0,
        max_tries=shard_queue.MAX_TRIES,
    )
