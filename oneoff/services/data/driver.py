"""The connection of the driver below SQLAlchemy, for COPY and for functions of SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
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

# One statement for all of them; `true` limits each setting to the transaction.
_APPLY_SETTINGS = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in SESSION_SETTINGS.items()
)


async def driver_connection(connection: AsyncConnection) -> Any:
    """Return the connection of the driver: asyncpg's or aiosqlite's."""
    return (await connection.get_raw_connection()).driver_connection


async def driver_with_settings(connection: AsyncConnection) -> Any:
    """Apply `SESSION_SETTINGS` in the transaction, or in a new one; return asyncpg's connection."""
    driver = await driver_connection(connection)
    if driver.is_in_transaction():
        await driver.execute(_APPLY_SETTINGS)  # one round trip: nothing is prepared
    else:
        # SQLAlchemy sends BEGIN with its first statement. Sent by the driver alone, the settings
        # would have no effect, and COPY would commit by itself.
        await connection.exec_driver_sql(_APPLY_SETTINGS)
    return driver


async def copy_source(data: bytes) -> AsyncIterator[bytes]:
    """Yield all of the bytes at once: as its source asyncpg's COPY takes an iterator."""
    yield data
