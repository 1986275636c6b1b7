"""Whether the services of the project are well; the same checks whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, NamedTuple

from oneoff.errors import CommandError, Unavailable
from oneoff.urls import parse_database_url

if TYPE_CHECKING:
    from oneoff.config import Config
    from oneoff.project import Project
    from oneoff.resources.database import Database

_PAUSE = 0.5


class Health(Enum):
    """How a service is, the best first."""

    UP = "up"
    BEHIND = "behind"
    """It answers, but migrations are pending."""
    DOWN = "down"


class Check(NamedTuple):
    """One service, as it is now.

    Attributes:
        service: "database", "migrations".
        health: How it is.
        latency_ms: Of one question on an open connection; None where that is not measured.
        detail: A line for the operator.
    """

    service: str
    health: Health
    latency_ms: float | None = None
    detail: str = ""


async def check_services(config: Config, project: Project, run_id: str) -> list[Check]:
    """Ask every service once.

    Raises:
        ConfigurationError: A setting is wrong, which waiting won't cure.
    """
    from oneoff.resources.database import Database

    url = parse_database_url(config.database_url, config.root, project.name)
    if not url.exists():
        # Connecting would make the file.
        return [Check("database", Health.BEHIND, detail=f"{url.database} is not there yet")]
    database = Database(url, run_id=run_id)
    try:
        checks = [await check_database(database)]
        if checks[0].health is Health.UP and project.migrations:
            checks.append(await check_migrations(config, project, database))
    finally:
        await database.dispose()
    return checks


async def check_database(database: Database) -> Check:
    """Open a new connection, and time one question on it."""
    try:
        async with database.connect("health") as connection:
            await connection.exec_driver_sql("SELECT 1")  # which also sends BEGIN
            started = perf_counter()
            await connection.exec_driver_sql("SELECT 1")
            latency = round((perf_counter() - started) * 1000, 1)
    except Unavailable as exc:
        return Check("database", Health.DOWN, detail=exc.message)
    return Check("database", Health.UP, latency, database.url.safe())


async def check_migrations(config: Config, project: Project, database: Database) -> Check:
    """Compare the database's revision with the newest of the files.

    A database that is ahead of this code is well: in a rolling release old processes go on
    serving.
    """
    from oneoff.resources.migrations import open_migrations

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


async def wait_until_well(
    ask: Callable[[], Awaitable[list[Check]]],
    seconds: float,
    *,
    clock: Callable[[], float] = monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[Check]:
    """Ask until everything is up or the time is over; return the last answers."""
    deadline = clock() + seconds
    checks = await ask()
    while worst(checks) is not Health.UP and clock() < deadline:
        await sleep(min(_PAUSE, max(deadline - clock(), 0)))
        checks = await ask()
    return checks


def worst(checks: Sequence[Check]) -> Health:
    """Return how the least healthy service is."""
    order = list(Health)
    return max((check.health for check in checks), key=order.index, default=Health.UP)
