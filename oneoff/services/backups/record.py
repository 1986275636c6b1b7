"""Keep the record of a database when its content is replaced by a backup.

The record of runs belongs to the database, and not to the data: it also has the runs after the
backup, with the one that restores it. The maintenance window stays as it is too, so a restore opens
or ends none. The checkpoints of batches, the outbox and the applied revisions belong to the data,
and come from the backup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from oneoff.database.schema.facts import read_facts
from oneoff.database.tables import environments, maintenance, runs, shell_inputs

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database

MERGED: tuple[tuple[Table, Column[Any]], ...] = (
    (runs, runs.c.id),
    (shell_inputs, shell_inputs.c.run_id),
)
"""The tables that get the rows of both, with the column that identifies a run. If both have a run,
that of the database is newer: the backup has its own run as `started`."""
_CHUNK = 500


async def carry_over(old: Database, new: Database, *, same: bool) -> None:
    """Copy the record of a database into the one that replaces it.

    Args:
        old: The database whose content is replaced.
        new: A database with the content of the backup; its framework tables are current.
        same: Whether the backup is one of `old` itself. Then its stored environment is kept too.
            Otherwise the result is a copy, until `migrate` stores its environment.
    """
    async with old.connect("audit") as source, new.transaction("audit") as target:
        for table, key in MERGED:
            await _merge(source, target, table, key)
        await _replace(source, target, maintenance)
        if same:
            await _replace(source, target, environments)
            facts = await read_facts(target, new.url)
            if facts.stored_environment and new.url.dialect == "postgresql":
                await target.execute(environments.update().values(cluster_identity=facts.identity))


async def _merge(
    source: AsyncConnection, target: AsyncConnection, table: Table, key: Column[Any]
) -> None:
    keys = (await source.scalars(select(key).distinct())).all()
    for at in range(0, len(keys), _CHUNK):
        await target.execute(delete(table).where(key.in_(keys[at : at + _CHUNK])))
    # A number that the database generates may be that of another row of the backup.
    columns = [column for column in table.c if column is key or not column.primary_key]
    await _copy(source, target, table, columns)


async def _replace(source: AsyncConnection, target: AsyncConnection, table: Table) -> None:
    await target.execute(delete(table))
    await _copy(source, target, table, list(table.c))


async def _copy(
    source: AsyncConnection, target: AsyncConnection, table: Table, columns: list[Column[Any]]
) -> None:
    async with source.stream(select(*columns)) as rows:
        async for part in rows.mappings().partitions(_CHUNK):
            await target.execute(insert(table), [dict(row) for row in part])
