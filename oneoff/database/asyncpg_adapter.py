"""What SQLAlchemy's adapter of asyncpg does not offer: to begin at once, and to ask less.

Importing this module does not load the driver.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


async def begin(connection: AsyncConnection) -> None:
    """Send BEGIN now; SQLAlchemy would send it with the first statement."""
    await connection.exec_driver_sql("")


async def driver_of(connection: AsyncConnection) -> Any:
    """Return the driver's connection, usually a `RunConnection`."""
    return (await connection.get_raw_connection()).driver_connection


async def set_autocommit(connection: AsyncConnection, *, on: bool) -> None:
    """Let each statement commit itself, or let the next one begin a transaction again.

    Unlike the isolation level "AUTOCOMMIT", switching it off restores the server's default level.
    """
    adapter: Any = (await connection.get_raw_connection()).dbapi_connection
    adapter.autocommit = on


def ask_the_driver(engine: AsyncEngine, *, knows_schema: Callable[[], bool]) -> None:
    """Let SQLAlchemy's first connection take from the driver what it would ask the server.

    Args:
        engine: The engine, before its first connection.
        knows_schema: Returns whether the code that opens the connection asks for the default
            schema itself, and stores it with `dialect.default_schema_name`.
    """
    from sqlalchemy.util import await_only

    def version(_dialect: object, connection: Any) -> tuple[int, ...]:
        found = connection.connection.driver_connection.get_server_version()
        # Since PostgreSQL 10 there is no minor version between the two.
        return (found.major, found.minor or found.micro)

    def schema(_dialect: object, connection: Any) -> str | None:
        if knows_schema():
            return None
        driver = connection.connection.driver_connection
        name: str | None = await_only(driver.fetchval("SELECT current_schema()"))
        return name

    def escapes(dialect: Any, connection: Any) -> None:
        settings = connection.connection.driver_connection.get_settings()
        dialect._backslash_escapes = settings.standard_conforming_strings == "off"  # noqa: SLF001

    def level(_dialect: object, _connection: object) -> None:
        raise NotImplementedError  # BEGIN without a level has the server's default

    def reset_level(_dialect: object, adapter: Any) -> None:
        adapter.set_isolation_level(None)

    # These are the hooks that a dialect implements. A dialect of our own would need a URL of its
    # own, which the project's code would see in `engine.url`.
    dialect: Any = engine.sync_engine.dialect
    hooks = {
        "_get_server_version_info": version,
        "_get_default_schema_name": schema,
        "_set_backslash_escapes": escapes,
        "get_default_isolation_level": level,
        "reset_isolation_level": reset_level,
    }
    for name, hook in hooks.items():
        setattr(dialect, name, MethodType(hook, dialect))


async def leads_through_pooler(connection: AsyncConnection) -> bool:
    """Return whether a connection to PostgreSQL, without open transaction, goes through a pooler.

    Raises:
        Unavailable: The connection was lost.
    """
    driver = await driver_of(connection)
    try:
        # Use the driver directly, because SQLAlchemy might keep the statement prepared.
        server = await driver.fetchval("SELECT pg_backend_pid()")
    except Exception as exc:
        from oneoff.database.errors import connection_lost

        raise connection_lost() from exc  # this query can't fail for any other reason
    # When a client connects, a pooler reports an invented process id, not the server's.
    return bool(server != driver.get_server_pid())
