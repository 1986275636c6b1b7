"""Keep the record of a database when its content is replaced by a backup.

The record of runs belongs to the database, and not to the data: it also has the runs after the
backup, with the one that restores it. The maintenance window stays as it is too, so a restore opens
or ends none, and so does the stored environment, unless that of the backup is stricter. The
checkpoints of batches, the outbox and the applied revisions belong to the data, and come from the
backup.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from oneoff.config.environment import strictness
from oneoff.database.schema.facts import read_facts
from oneoff.database.tables import (
    approval_uses,
    approvals,
    approvers,
    audit,
    environments,
    maintenance,
    runs,
    shell_inputs,
)
from oneoff.runtime.audit.chain import add_event, changeable_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Delete, Insert, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.config.environment import Facts
    from oneoff.database.engine import Database
    from oneoff.services.backups.checked import Checked

# An approval that was used after the backup must stay used. Approvers refer to approvals.
_RECORD = (runs, shell_inputs, approvals, approvers, approval_uses)
_CHUNK = 500  # rows
COMMAND = "db restore"


async def carry_over(old: Database, new: Database, checked: Checked, here: Facts) -> None:
    """Copy the record of a database into the one that replaces it.

    If the old database is new and empty, as after a disaster, its record has only runs of `db
    restore`. Then the record of the backup goes on with those.

    Args:
        old: The database whose content is replaced.
        new: A database with the content of the backup; its framework tables are current.
        checked: The backup.
        here: The facts of the database that is restored.
    """
    async with old.connect("audit") as source, new.transaction("audit") as target:
        others = select(runs.c.id).where(runs.c.command != COMMAND).limit(1)
        if checked.same or await source.scalar(others):
            await _replace(source, target, *_RECORD)
            async with changeable_events(target):
                await _replace(source, target, audit)
        else:
            for run_id in (
                await source.scalars(select(runs.c.id).order_by(runs.c.started_at))
            ).all():
                await _add_run(source, target, run_id)
            # It is not known which of them the lost database has used since the backup.
            ended = {"ended_as": "withdrawn", "ended_by": COMMAND}
            await target.execute(approvals.update().where(approvals.c.ended_as == "").values(ended))
        await _replace(source, target, maintenance, environments)
        marks = copy_marks(checked, here)
        for statement in marks:
            await target.execute(statement)
        if not marks and not here.is_copy and new.url.dialect == "postgresql":
            identity = (await read_facts(target, new.url)).identity
            await target.execute(environments.update().values(cluster_identity=identity))


def copy_marks(checked: Checked, here: Facts) -> Sequence[Delete | Insert]:
    """Return the statements that mark a database as a copy of the one that was backed up.

    There are none if it keeps its own environment: after a restore of its own backup, and if its
    environment is at least as strict. Production stays production, whatever is restored into it.
    """
    manifest, stored = checked.manifest, here.stored_environment
    if checked.same or (stored and strictness(stored) >= strictness(manifest.environment)):
        return ()
    row = {
        "id": 1,
        "environment": manifest.environment,
        "cluster_identity": manifest.identity,
        "database_name": manifest.database,
        "stored_at": datetime.now(UTC),
    }
    return delete(environments), insert(environments).values(row)


async def _add_run(source: AsyncConnection, target: AsyncConnection, run_id: str) -> None:
    """Copy one run, and add its events to the chain."""
    await _copy(source, target, runs, runs.c.id == run_id)
    events = select(audit.c.event).where(audit.c.run_id == run_id).order_by(audit.c.seq)
    for event in (await source.scalars(events)).all():
        facts: dict[str, Any] = json.loads(event)
        await add_event(target, facts["kind"], facts)


async def _replace(source: AsyncConnection, target: AsyncConnection, *tables: Table) -> None:
    for table in reversed(tables):
        await target.execute(delete(table))
    for table in tables:
        await _copy(source, target, table)


async def _copy(
    source: AsyncConnection,
    target: AsyncConnection,
    table: Table,
    *conditions: ColumnElement[bool],
) -> None:
    """Copy rows; a number that the database generates may be that of another row there."""
    generated = {"id"} if table is shell_inputs else set()
    columns = [column for column in table.c if column.name not in generated]
    wanted = select(*columns).where(*conditions).order_by(*table.primary_key)
    async with source.stream(wanted) as rows:
        async for part in rows.mappings().partitions(_CHUNK):
            await target.execute(insert(table), [dict(row) for row in part])
