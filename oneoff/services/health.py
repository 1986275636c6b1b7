"""Whether the services of the project are well; the same checks whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import Enum
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, NamedTuple

from oneoff.config.database_url import parse_database_url
from oneoff.config.redis_url import redis_url
from oneoff.core.errors import CommandError, ConfigurationError
from oneoff.core.policy import Mode

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.config.settings import Config
    from oneoff.core.project import Project
    from oneoff.database.engine import Database

LOGGING = "--custom-log-dict oneoff.integrations.process_logs.WORKER_LOGGING"
"""What makes ARQ's own lines those of our logs, from the first one on."""
TIMEOUT = 10.0
"""Seconds for each check, connecting included."""
_PAUSE = 0.5


class Service(Enum):
    """What can be asked."""

    DATABASE = "database"
    MIGRATIONS = "migrations"
    REDIS = "redis"
    WORKER = "worker"


class Health(Enum):
    """How a service is, the best first."""

    UP = "up"
    UNKNOWN = "unknown"
    """It could not be asked, because what it lives in is not well."""
    BEHIND = "behind"
    """It answers, but migrations are pending, or it has to be made by them."""
    DOWN = "down"
    """It does not answer; it may come back by itself."""
    WRONG = "wrong"
    """A setting does not fit it, a password for instance: waiting won't cure that."""


_LIVES_IN = {Service.MIGRATIONS: Service.DATABASE, Service.WORKER: Service.REDIS}
"""Which service has to answer before another can be asked."""


class Check(NamedTuple):
    """One service, as it is now.

    Attributes:
        service: "database", "migrations", "redis" or "worker".
        health: How it is.
        latency_ms: Of one question on an open connection; None where that is not measured.
        detail: A line for the operator; it may name hosts.
    """

    service: str
    health: Health
    latency_ms: float | None = None
    detail: str = ""


class _Question(NamedTuple):
    """What `check_services` was asked."""

    config: Config
    project: Project
    run_id: str
    wanted: frozenset[Service]
    seconds: float


async def check_services(
    config: Config,
    project: Project,
    run_id: str,
    *,
    only: Collection[Service] = (),
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of each question, not of this function
    database: Database | None = None,
) -> list[Check]:
    """Ask every service once, all at the same time; nothing is raised.

    Asked are the database, the project's migrations, and with REDIS_URL also Redis and, if the
    project has a worker, whether one is at work. The answers come in this order.

    Args:
        config: Says where they are.
        project: Says what it has.
        run_id: Shown to the services.
        only: Ask these alone, though they are not set; nothing means all that are.
        timeout: Seconds for each.
        database: An open one to use; a new one otherwise.
    """
    wanted = frozenset(only) or _expected(config, project)
    question = _Question(config, project, run_id, wanted, timeout)
    groups = []
    if wanted & {Service.DATABASE, Service.MIGRATIONS}:
        groups.append(_ask_database(question, database))
    if wanted & {Service.REDIS, Service.WORKER}:
        groups.append(_ask_redis(question))
    found = [check for checks in await asyncio.gather(*groups) for check in checks]
    answers = {Service(check.service): check for check in found}
    return [
        answers.get(service) or _unasked(service, answers, wanted)
        for service in Service
        if service in wanted
    ]


def _unasked(
    service: Service, answers: Mapping[Service, Check], wanted: Collection[Service]
) -> Check:
    """Return what stands for a service that could not be asked: the cause, if nothing else does."""
    home = _LIVES_IN[service]
    cause = answers[home]
    if home not in wanted:
        return cause._replace(service=service.value)
    detail = f"not asked: {home.value} is {cause.health.value}"
    return Check(service.value, Health.UNKNOWN, detail=detail)


def _expected(config: Config, project: Project) -> frozenset[Service]:
    expected = {Service.DATABASE}
    if project.migrations:
        expected.add(Service.MIGRATIONS)
    if config.redis_url:
        expected.add(Service.REDIS)
        if project.worker:
            expected.add(Service.WORKER)
    return frozenset(expected)


async def _ask_database(question: _Question, given: Database | None) -> list[Check]:
    from oneoff.database.engine import Database

    config, project, run_id, wanted, seconds = question
    try:
        url = parse_database_url(config.database_url, config.root, project.name)
    except ConfigurationError as exc:
        return [_ill(Service.DATABASE, exc)]
    if not url.exists():
        # Connecting would make the file.
        detail = f"{url.database} is not there yet"
        return [Check(Service.DATABASE.value, Health.BEHIND, detail=detail)]
    database = given or Database(url, run_id=run_id)
    try:
        checks = [await _bounded(Service.DATABASE, check_database(database), seconds)]
        if checks[0].health is Health.UP and Service.MIGRATIONS in wanted:
            ask = check_migrations(config, project, database)
            checks.append(await _bounded(Service.MIGRATIONS, ask, seconds))
    finally:
        if given is None:
            await database.dispose()
    return checks


async def _ask_redis(question: _Question) -> list[Check]:
    from oneoff.redis.client import connect

    config, project, run_id, wanted, seconds = question
    checks: list[Check] = []
    try:
        async with (
            asyncio.timeout(seconds),
            connect(redis_url(config), Mode.READ_ONLY, name=f"oneoff/{run_id}") as client,
        ):
            checks.append(await check_redis(client, redis_url(config).safe()))
            if Service.WORKER in wanted:
                ask = check_worker(client, config, project)
                checks.append(await _bounded(Service.WORKER, ask, seconds))
    except TimeoutError:
        checks.append(_silent(Service.REDIS, seconds))
    except CommandError as exc:
        checks.append(_ill(Service.REDIS, exc))
    return checks


async def _bounded(service: Service, question: Awaitable[Check], seconds: float) -> Check:
    try:
        async with asyncio.timeout(seconds):
            return await question
    except TimeoutError:
        return _silent(service, seconds)
    except CommandError as exc:
        return _ill(service, exc)


def _silent(service: Service, seconds: float) -> Check:
    return Check(service.value, Health.DOWN, detail=f"no answer within {seconds:g} s")


def _ill(service: Service, error: CommandError) -> Check:
    is_wrong = isinstance(error, ConfigurationError)
    return Check(service.value, Health.WRONG if is_wrong else Health.DOWN, detail=error.message)


async def check_database(database: Database) -> Check:
    """Open a connection, and time one question on it."""
    async with database.connect("health") as connection:
        await connection.exec_driver_sql("SELECT 1")  # which also sends BEGIN
        started = perf_counter()
        await connection.exec_driver_sql("SELECT 1")
        latency = round((perf_counter() - started) * 1000, 1)
    return Check("database", Health.UP, latency, database.url.safe())


async def check_migrations(config: Config, project: Project, database: Database) -> Check:
    """Compare the database's revision with the newest of the files.

    A database that is ahead of this code is well: in a rolling release old processes go on
    serving.
    """
    from oneoff.services.migrations.resource import open_migrations

    async with open_migrations(config, project, database, None) as migrations:
        head = await migrations.at_head()
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


async def check_worker(client: Redis, config: Config, project: Project) -> Check:
    """Look for the heartbeat that every worker leaves in Redis while it lives."""
    from oneoff.services.jobs.heartbeat import read_heartbeat
    from oneoff.services.jobs.worker_settings import load_worker
    from oneoff.services.maintenance.redis_copy import announced_window

    seen = await read_heartbeat(client, load_worker(project))
    if seen is None:
        start = f"arq {project.worker.replace(':', '.')} {LOGGING}"
        return Check("worker", Health.DOWN, detail=f"none has reported; start one: {start}")
    detail = (
        f"seen {seen.age:g} s ago: {seen.ongoing} running, {seen.queued} queued, "
        f"{seen.complete} completed, {seen.failed} failed"
    )
    if await announced_window(client, config, project):
        detail += "; takes no job: maintenance is on"
    return Check("worker", Health.UP, detail=detail)


async def wait_until_well(
    ask: Callable[[], Awaitable[list[Check]]],
    seconds: float,
    *,
    clock: Callable[[], float] = monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[Check]:
    """Ask until everything is up, something is wrong for good, or the time is over.

    Returns:
        The last answers.
    """
    deadline = clock() + seconds
    checks = await ask()
    while worst(checks) in (Health.BEHIND, Health.DOWN) and clock() < deadline:
        await sleep(min(_PAUSE, max(deadline - clock(), 0)))
        checks = await ask()
    return checks


def worst(checks: Sequence[Check]) -> Health:
    """Return how the least healthy service is."""
    order = list(Health)
    return max((check.health for check in checks), key=order.index, default=Health.UP)
