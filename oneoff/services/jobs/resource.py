"""Open the resource `jobs`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from oneoff.config.redis_url import RedisURL, redis_url
from oneoff.config.settings import Config
from oneoff.core.errors import ConfigurationError
from oneoff.core.policy import Mode
from oneoff.core.run import Run

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.services.jobs.queue import Jobs


@asynccontextmanager
async def open_jobs(config: Config, mode: Mode, run: Run) -> AsyncIterator[Jobs]:
    """Open the resource `jobs`: the queue of the project's worker, connected.

    Raises:
        ConfigurationError: REDIS_URL is not set or names a cluster, or the project names no worker
            or one that uses another Redis.
        Unavailable: The server can't be reached, or is too slow.
    """
    url = redis_url(config)
    from oneoff.redis.client import connect
    from oneoff.services.jobs.queue import Jobs
    from oneoff.services.jobs.worker_settings import check_same_redis, load_worker

    worker = load_worker(config.project)
    check_same_redis(worker, url)
    async with connect(url, mode, name=f"oneoff/{run.id}") as client:
        _check_server(client, url)
        jobs = Jobs(client, worker, mode)
        yield jobs
        if jobs.refused:
            raise jobs.refused


def _check_server(client: Redis, url: RedisURL) -> None:
    from oneoff.redis.client import as_cluster

    if as_cluster(client) is not None:
        raise ConfigurationError(
            f"{url.server} is a cluster, and ARQ does not work on clusters",
            why="ARQ changes several keys of a job in one transaction; a cluster stores them apart",
            try_="set REDIS_URL to a single server",
            code="jobs-on-cluster",
        )
