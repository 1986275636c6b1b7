"""Check whether the services of the project are healthy, for commands and for the web."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import Enum
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, NamedTuple

from oneoff.config.redis_url import redis_url
from oneoff.core.errors import CommandError, ConfigurationError
from oneoff.core.policy import Mode
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.config.settings import Config
    from oneoff.database.engine import Database

LOGGING = "--custom-log-dict oneoff.integrations.process_logs.WORKER_LOGGING"
"""Option of `arq` that formats its own log lines like those of oneoff."""
TIMEOUT = 10.0
"""Seconds for each check, including the connection."""
_PAUSE = 0.5  # seconds between two checks while waiting


class Service(Enum):
    """A service that can be checked."""

    DATABASE = "database"
    MIGRATIONS = "migrations"
    REDIS = "redis"
    WORKER = "worker"


class Health(Enum):
    """The health of a service, best first."""

    UP = "up"
    UNKNOWN = "unknown"
    """It could not be checked, because the service that it depends on is not healthy."""
    BEHIND = "behind"
    """It answers, but migrations are pending, or the database file does not exist yet."""
    DOWN = "down"
    """It does not answer, but may recover by itself."""
    WRONG = "wrong"
    """A setting is wrong, a password for instance: waiting does not help."""


_DEPENDS_ON = {Service.MIGRATIONS: Service.DATABASE, Service.WORKER: Service.REDIS}
"""The service that has to answer before another one can be checked."""


class Check(NamedTuple):
    """The health of one service.

    Attributes:
        service: "database", "migrations", "redis" or "worker".
        health: The result.
        latency_ms: Of one query on an open connection; None if it is not measured.
        detail: A line for the operator; it may name hosts.
    """

    service: str
    health: Health
    latency_ms: float | None = None
    detail: str = ""


class _Request(NamedTuple):
    """The arguments of `check_services`."""

    config: Config
    run_id: str
    wanted: frozenset[Service]
    seconds: float
    reviews: bool


async def check_services(
    config: Config,
    run_id: str,
    *,
    only: Collection[Service] = (),
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of each check, not of this function
    database: Database | None = None,
    reviews: bool = False,
) -> list[Check]:
    """Check every service once, all at the same time; failures are results, not exceptions.

    The services are the database, the migrations of the project, and with REDIS_URL also Redis and
    the worker, if the project has one. The results are in this order.

    Args:
        config: The addresses of the services. Its project determines whether migrations and a
            worker are checked.
        run_id: Shown in the services' lists of connections.
        only: Check these, configured or not; by default all that are configured.
        timeout: Seconds for each check.
        database: An open database to use; by default a new one.
        reviews: Whether to count the runs whose review is overdue.
    """
    wanted = frozenset(only) or _expected(config)
    request = _Request(config, run_id, wanted, timeout, reviews)
    groups = []
    if wanted & {Service.DATABASE, Service.MIGRATIONS}:
        groups.append(_check_database_group(request, database))
    if wanted & {Service.REDIS, Service.WORKER}:
        groups.append(_check_redis_group(request))
    found = [check for checks in await asyncio.gather(*groups) for check in checks]
    answers = {Service(check.service): check for check in found}
    return [
        answers.get(service) or _not_checked(service, answers, wanted)
        for service in Service
        if service in wanted
    ]


def _not_checked(
    service: Service, answers: Mapping[Service, Check], wanted: Collection[Service]
) -> Check:
    """Return the result for a service whose dependency is not healthy.

    If the dependency is not among the services to check, its own result shows the cause.
    """
    home = _DEPENDS_ON[service]
    cause = answers[home]
    if home not in wanted:
        return cause._replace(service=service.value)
    detail = f"not checked: {home.value} is {cause.health.value}"
    return Check(service.value, Health.UNKNOWN, detail=detail)


def _expected(config: Config) -> frozenset[Service]:
    expected = {Service.DATABASE}
    if config.project.migrations:
        expected.add(Service.MIGRATIONS)
    if config.redis_url:
        expected.add(Service.REDIS)
        if config.project.worker:
            expected.add(Service.WORKER)
    return frozenset(expected)


async def _check_database_group(request: _Request, given: Database | None) -> list[Check]:
    from oneoff.database.engine import Database

    config, run_id, wanted, seconds, reviews = request
    try:
        url = config.database()
    except ConfigurationError as exc:
        return [_failed(Service.DATABASE, exc)]
    if not url.exists():
        # Connecting would create the file.
        detail = f"{url.database} does not exist yet"
        return [Check(Service.DATABASE.value, Health.BEHIND, detail=detail)]
    database = given or Database(url, run_id=run_id, project=config.project)
    try:
        ask = check_database(database, reviews=reviews)
        checks = [await _with_timeout(Service.DATABASE, ask, seconds)]
        if checks[0].health is Health.UP and Service.MIGRATIONS in wanted:
            ask = check_migrations(config, database)
            checks.append(await _with_timeout(Service.MIGRATIONS, ask, seconds))
    finally:
        if given is None:
            await database.dispose()
    return checks


async def _check_redis_group(request: _Request) -> list[Check]:
    from oneoff.redis.client import connect

    config, run_id, wanted, seconds, _ = request
    checks: list[Check] = []
    try:
        async with (
            asyncio.timeout(seconds),
            connect(redis_url(config), Mode.READ_ONLY, name=f"oneoff/{run_id}") as client,
        ):
            checks.append(await check_redis(client, redis_url(config).safe()))
            if Service.WORKER in wanted:
                ask = check_worker(client, config)
                checks.append(await _with_timeout(Service.WORKER, ask, seconds))
    except TimeoutError:
        checks.append(_no_answer(Service.REDIS, seconds))
    except CommandError as exc:
        checks.append(_failed(Service.REDIS, exc))
    return checks


async def _with_timeout(service: Service, check: Awaitable[Check], seconds: float) -> Check:
    try:
        async with asyncio.timeout(seconds):
            return await check
    except TimeoutError:
        return _no_answer(service, seconds)
    except CommandError as exc:
        return _failed(service, exc)


def _no_answer(service: Service, seconds: float) -> Check:
    return Check(service.value, Health.DOWN, detail=f"no answer within {seconds:g} s")


def _failed(service: Service, error: CommandError) -> Check:
    is_wrong = isinstance(error, ConfigurationError)
    return Check(service.value, Health.WRONG if is_wrong else Health.DOWN, detail=error.message)


async def check_database(database: Database, *, reviews: bool = False) -> Check:
    """Open a connection, and time one query on it; the detail says if reviews are overdue."""
    from oneoff.runtime.audit.overdue import DUE, overdue_reviews

    overdue = 0
    async with database.connect("health") as connection:
        # The first statement also sends BEGIN, so its time says little.
        if reviews:
            overdue = await overdue_reviews(connection)
        else:
            await connection.exec_driver_sql("SELECT 1")
        started = perf_counter()
        await connection.exec_driver_sql("SELECT 1")
        latency = round((perf_counter() - started) * 1000, 1)
    detail = database.url.safe()
    if overdue:
        owe = f"{counted(overdue, 'run')} with --break-glass older than {DUE.days} days"
        detail += f"; not reviewed: {owe}; see audit review list"
    return Check("database", Health.UP, latency, detail)


async def check_migrations(config: Config, database: Database) -> Check:
    """Compare the revision of the database with the newest migration file.

    A database that is ahead of this code is healthy: during a rolling release, old processes
    continue to serve.
    """
    from oneoff.services.migrations.provider import open_migrations

    # One query needs no transaction, which a read-only run would begin.
    async with open_migrations(config, database, None, Mode.COMMIT) as migrations:
        head = await migrations.head_if_applied()
        if head:
            return Check("migrations", Health.UP, detail=f"at head {head}")
        try:
            pending = await migrations.pending("heads")
        except CommandError as exc:
            if exc.code != "unknown-database-revision":
                raise
            return Check("migrations", Health.UP, detail=exc.message)
    if not pending:
        return Check("migrations", Health.UP, detail="at head")
    names = ", ".join(revision.id for revision in pending)
    return Check("migrations", Health.BEHIND, detail=f"{len(pending)} pending: {names}")


async def check_redis(client: Redis, name: str) -> Check:
    """Time one PING on an open connection."""
    started = perf_counter()
    await client.ping()
    latency = round((perf_counter() - started) * 1000, 1)
    return Check("redis", Health.UP, latency, name)


async def check_worker(client: Redis, config: Config) -> Check:
    """Read the heartbeat that a running worker writes to Redis."""
    from oneoff.services.jobs.heartbeat import read_heartbeat
    from oneoff.services.jobs.worker_settings import check_same_redis, load_worker
    from oneoff.services.maintenance.redis_copy import announced_window

    worker = load_worker(config.project)
    check_same_redis(worker, redis_url(config))
    seen = await read_heartbeat(client, worker)
    if seen is None:
        start = f"arq {config.project.worker.replace(':', '.')} {LOGGING}"
        return Check("worker", Health.DOWN, detail=f"no worker has reported; start one: {start}")
    detail = (
        f"seen {seen.age:g} s ago: {seen.ongoing} running, {seen.queued} queued, "
        f"{seen.complete} completed, {seen.failed} failed"
    )
    if await announced_window(client, config):
        detail += "; takes no jobs: maintenance is on"
    return Check("worker", Health.UP, detail=detail)


async def wait_until_healthy(
    ask: Callable[[], Awaitable[list[Check]]],
    seconds: float,
    *,
    clock: Callable[[], float] = monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[Check]:
    """Check until everything is up, waiting can't help, or the time is up.

    Returns:
        The last results.
    """
    deadline = clock() + seconds
    checks = await ask()
    while worst(checks) in (Health.BEHIND, Health.DOWN) and clock() < deadline:
        await sleep(min(_PAUSE, max(deadline - clock(), 0)))
        checks = await ask()
    return checks


def worst(checks: Sequence[Check]) -> Health:
    """Return the health of the least healthy service."""
    order = list(Health)
    return max((check.health for check in checks), key=order.index, default=Health.UP)
