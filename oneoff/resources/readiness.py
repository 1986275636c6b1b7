"""Whether the URLs of a project lead where they should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.config.environment import Facts
from oneoff.core.errors import ConfigurationError

if TYPE_CHECKING:
    from oneoff.config.database_url import DatabaseURL


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
