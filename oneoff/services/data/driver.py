"""The connection of the driver below SQLAlchemy, for COPY and for functions of SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

SESSION_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
}
"""Settings of a PostgreSQL transaction that decide how values are written as text and read again.

A server, database or role may have others; with these, files are the same everywhere.
"""


async def driver_connection(connection: AsyncConnection) -> Any:
    """Return the connection of the driver: asyncpg's or aiosqlite's."""
    return (await connection.get_raw_connection()).driver_connection


async def postgresql_driver(connection: AsyncConnection) -> Any:
    """Return asyncpg's connection, in a transaction with `SESSION_SETTINGS`."""
    # SQLAlchemy sends BEGIN with its first statement: without one, COPY would commit by itself and
    # SET LOCAL would have no effect.
    await connection.exec_driver_sql("SELECT 1")
    driver = await driver_connection(connection)
    await driver.execute(settings_statement())
    return driver


def settings_statement() -> str:
    """Return the SET LOCAL statements of `SESSION_SETTINGS` in one text."""
    return "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in SESSION_SETTINGS.items())
