"""Get the driver's connection below SQLAlchemy, for COPY and for SQLite functions."""

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
"""PostgreSQL settings that control how values are converted to text and back.

A server, database or role may have other values. With these, files are the same everywhere.
"""

# One statement for all settings; `true` limits each one to the current transaction.
_APPLY_SETTINGS = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in SESSION_SETTINGS.items()
)


async def driver_connection(connection: AsyncConnection) -> Any:
    """Return the driver's connection: asyncpg's or aiosqlite's."""
    return (await connection.get_raw_connection()).driver_connection


async def driver_with_settings(connection: AsyncConnection) -> Any:
    """Apply `SESSION_SETTINGS` in the current transaction and return asyncpg's connection.

    Starts a transaction if none is open.
    """
    driver = await driver_connection(connection)
    if driver.is_in_transaction():
        await driver.execute(_APPLY_SETTINGS)  # one round trip: the statement is not prepared
    else:
        # SQLAlchemy sends BEGIN with its first statement. If the driver sent the settings itself,
        # no transaction would be open: they would have no effect, and COPY would commit by itself.
        await connection.exec_driver_sql(_APPLY_SETTINGS)
    return driver


async def copy_source(data: bytes) -> AsyncIterator[bytes]:
    """Yield all bytes at once. asyncpg's COPY takes an iterator as its source."""
    yield data
