"""A small project with a worker and tasks for tests."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from arq import Retry, Worker, cron, func
from arq.connections import ArqRedis
from arq.worker import create_worker
from redis.asyncio import Redis
from redis.exceptions import ConnectionError  # noqa: A004 - the driver's

from oneoff import ConfigurationError, Project, Unavailable
from oneoff.testing import Manage

Hook = Callable[[dict[Any, Any]], Awaitable[None]]


class Colour(StrEnum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class OutOfStock(Exception):
    """An error of the application."""


async def add(ctx: dict[Any, Any], left: int, right: int = 1) -> int:
    """Return a sum."""
    return left + right


async def paint(
    ctx: dict[Any, Any], colour: Colour, day: date | None = None, sizes: list[int] | None = None
) -> dict[str, Any]:
    """Return the arguments."""
    return {"colour": colour.value, "day": day, "sizes": sizes}


async def weigh(ctx: dict[Any, Any], weights: dict[str, float]) -> float:
    """Return the sum of the values."""
    return sum(weights.values())


async def fail(ctx: dict[Any, Any], what: str = "nails") -> None:
    """Raise an error."""
    raise OutOfStock(what, 3)


async def insist(ctx: dict[Any, Any], tries: int) -> int:
    """Succeed at this try, and ask for a retry before."""
    if ctx["job_try"] < tries:
        raise Retry(defer=0.01)
    return int(ctx["job_try"])


async def unpicklable(ctx: dict[Any, Any]) -> object:
    """Return an object that can't be pickled."""
    return lambda: None


async def break_down(ctx: dict[Any, Any], how: str) -> None:
    """Fail with an error that has its own exit code, or with one that has none."""
    closed = Unavailable("the shop is closed", code="shop-closed")
    match how:
        case "configuration":
            raise ConfigurationError("the shop has no address")
        case "redis":
            raise ConnectionError("no Redis")
        case "retried":
            raise Retry(defer=0.01) from closed
        case "slow":
            raise TimeoutError from asyncio.CancelledError()
        case "cancelled":
            raise asyncio.CancelledError
    raise closed


async def look_around(ctx: dict[Any, Any]) -> list[str]:
    """Return the names in the context."""
    return sorted(name for name in ctx if name != "inline")


async def start(ctx: dict[Any, Any]) -> None:
    """Record that the worker has started."""
    ctx["started"] = True


async def begin(ctx: dict[Any, Any]) -> None:
    """Record that a job has started."""
    ctx["begun"] = ctx["job_id"]


FUNCTIONS = (
    func(add, name="sum"),
    paint,
    weigh,
    func(fail, max_tries=1),
    func(insist, max_tries=3),
    unpicklable,
    func(break_down, max_tries=2),
    look_around,
    "tests.support.arq_shop.add",
)


class WorkerSettings:
    """A worker that allows no aborts."""

    functions = FUNCTIONS
    cron_jobs = (cron(add, hour=3, minute=10),)
    queue_name = "shop:queue"
    on_startup = start
    on_job_start = begin
    ctx = {"shelf": 3}  # noqa: RUF012 - ARQ requires it


class AbortingSettings:
    """A worker that allows aborts."""

    functions = FUNCTIONS
    queue_name = "shop:queue"
    allow_abort_jobs = True


def to_text(value: dict[str, Any]) -> bytes:
    """Serialise a value in the application's own format."""
    return b"own:" + pickle.dumps(value)


def from_text(raw: bytes) -> dict[str, Any]:
    """Read the application's own format."""
    value: dict[str, Any] = pickle.loads(raw.removeprefix(b"own:"))  # noqa: S301 - our own
    return value


class OwnFormat:
    """A worker with its own serialiser."""

    functions = FUNCTIONS
    job_serializer = staticmethod(to_text)
    job_deserializer = staticmethod(from_text)
    queue_name = "shop:queue"


def _project(settings: str) -> Project:
    return Project(
        "shop", commands=("tests.support.arq_commands",), worker=f"{__name__}:{settings}"
    )


project = _project("WorkerSettings")
aborting = _project("AbortingSettings")
own_format = _project("OwnFormat")
broken = _project("NoSuchSettings")


class Queue:
    """The project on one Redis, with access to the keys in it.

    Args:
        url: An empty Redis.
        root: A folder for the test.
        name: Name of the project object in this module.
    """

    def __init__(self, url: str, root: Path, name: str = "project") -> None:
        self.url, self.settings = (
            url,
            {
                "project": WorkerSettings,
                "aborting": AbortingSettings,
                "own_format": OwnFormat,
            }[name],
        )
        environ = {
            "REDIS_URL": url,
            "DATABASE_URL": f"sqlite:///{root}/shop.sqlite3",
            "ENVIRONMENT": "test",
            "LOG_LEVEL": "error",
        }
        self.manage = Manage(f"{__name__}:{name}", str(Path(__file__).parents[2]), environ)

    async def work(self) -> int:
        """Let a worker do the jobs that are due; return how many it completed."""
        async with ArqRedis.from_url(self.url) as pool:
            worker: Worker = create_worker(
                self.settings,  # type: ignore[arg-type] # any class with these attributes will do
                redis_pool=pool,
                burst=True,
                handle_signals=False,
                poll_delay=0.01,
                max_burst_jobs=await pool.zcount("shop:queue", "-inf", "+inf"),
            )
            await worker.async_run()
            return worker.jobs_complete

    async def work_until_ended(self, job_id: str) -> None:
        """Let workers run a job, with retries, until it has a result."""
        async with asyncio.timeout(60):
            while not await self.change("EXISTS", f"arq:result:{job_id}"):
                await self.work()

    async def filled(self) -> None:
        """Wait until the queue is not empty."""
        async with asyncio.timeout(60):
            while not await self.change("EXISTS", "shop:queue"):  # noqa: ASYNC110 - it is in Redis
                await asyncio.sleep(0.01)

    async def contents(self) -> dict[bytes, Any]:
        """Return all keys in Redis with their values, but not when they expire."""
        async with Redis.from_url(self.url) as client:
            keys = sorted([key async for key in client.scan_iter()])
            return {key: await client.dump(key) for key in keys}

    async def change(self, command: str, *words: Any) -> Any:
        """Send one command to Redis."""
        async with Redis.from_url(self.url) as client:
            return await client.execute_command(command, *words)
