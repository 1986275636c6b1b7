"""Read Alembic's usual version table without importing Alembic."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_EXISTS = {
    "postgresql": "SELECT to_regclass($1) IS NOT NULL",
    "sqlite": "SELECT count(*) > 0 FROM sqlite_master WHERE name = ?",
}


async def read_versions(connection: AsyncConnection) -> tuple[str, ...]:
    """Return the revisions of the database, sorted."""
    if not await has_table(connection, "alembic_version"):
        return ()
    found = await connection.exec_driver_sql("SELECT version_num FROM alembic_version")
    return tuple(sorted(found.scalars().all()))


async def has_table(connection: AsyncConnection, table: str) -> bool:
    """Return whether the database has the table."""
    answer = await connection.exec_driver_sql(_EXISTS[connection.dialect.name], (table,))
    return bool(answer.scalar_one())
