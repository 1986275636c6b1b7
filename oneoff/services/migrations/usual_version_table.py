"""Read Alembic's usual version table without importing Alembic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.database.asyncpg_adapter import driver_of
from oneoff.database.queries_as_text import query_if, read_values

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_EXISTS = {
    "postgresql": "SELECT to_regclass($1) IS NOT NULL",
    "sqlite": "SELECT count(*) > 0 FROM sqlite_master WHERE name = ?",
}
_VERSIONS = "SELECT " + query_if(
    "to_regclass('alembic_version') IS NOT NULL", "json_agg(version_num)", "FROM alembic_version"
)


async def read_versions(connection: AsyncConnection) -> tuple[str, ...]:
    """Return the revisions of the database, sorted."""
    if connection.dialect.name == "postgresql":
        # The driver sends no BEGIN, so this takes two round trips instead of six.
        driver = await driver_of(connection)
        (versions,) = read_values(await driver.fetchval(_VERSIONS)) or (None,)
        return tuple(sorted(versions or ()))
    if not await has_table(connection, "alembic_version"):
        return ()
    found = await connection.exec_driver_sql("SELECT version_num FROM alembic_version")
    return tuple(sorted(found.scalars().all()))


async def has_table(connection: AsyncConnection, table: str) -> bool:
    """Return whether the database has the table."""
    answer = await connection.exec_driver_sql(_EXISTS[connection.dialect.name], (table,))
    return bool(answer.scalar_one())
