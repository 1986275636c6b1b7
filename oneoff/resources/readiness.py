"""Whether a database is there yet."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from oneoff.environment import Facts
from oneoff.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from oneoff.resources.database import Database
    from oneoff.urls import DatabaseURL

_PAUSE = 0.5


async def wait_until_up(database: Database, seconds: float) -> None:
    """Wait for a database that is still starting.

    Args:
        database: Which one.
        seconds: How long; 0 leaves the first try to whoever connects next.

    Raises:
        Unavailable: It is not up after that time.
    """
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        try:
            async with database.connect("wait"):
                return
        except Unavailable:
            if monotonic() + _PAUSE >= deadline:
                raise
        await asyncio.sleep(_PAUSE)


async def check_same_database(facts: Facts, connected: DatabaseURL, main: DatabaseURL) -> None:
    """Make sure that a direct URL leads to the database that the application uses.

    Args:
        facts: Of the database connected to.
        connected: Its URL: MIGRATION_DATABASE_URL, or the main one.
        main: DATABASE_URL.

    Raises:
        ConfigurationError: They are two databases: migrating one would leave the other behind.
        Unavailable: DATABASE_URL can't be reached.
    """
    if connected.dialect == "sqlite" or connected == main:
        return
    from oneoff.resources.database import Database
    from oneoff.schema import read_facts

    database = Database(main, run_id="check")
    try:
        async with database.connect("check") as connection:
            other = await read_facts(connection, main)
    finally:
        await database.dispose()
    if other.identity != facts.identity:
        raise ConfigurationError(
            "MIGRATION_DATABASE_URL and DATABASE_URL lead to two different databases",
            why=f"{connected.safe()} is not {main.safe()}",
            try_="let both name the same database, one of them past the pooler",
            code="migration-url-mismatch",
        )
