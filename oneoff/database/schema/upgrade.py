"""Create the framework's own tables, or upgrade them to their newest revision.

They have an Alembic history and a version table of their own, beside the project's. Alembic is
imported only to create or upgrade them; whether that is needed is a cheap query.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneoff.database.locks.acquire import acquire, make_lock
from oneoff.database.schema.facts import read_facts

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection

    from oneoff.database.engine import Database


SCHEMA_LOCK_WAIT = 60.0
"""Seconds to wait for another process that creates the tables."""


async def ensure_schema(database: Database) -> None:
    """Make the framework's tables, or upgrade them; does nothing where they are current.

    Any number of processes may call it at the same time.

    Raises:
        LockBusy: Another process has not finished it within a minute.
    """
    if await _is_current(database):
        return
    lock = await acquire(make_lock(database, "schema"), wait=SCHEMA_LOCK_WAIT)
    try:
        if not await _is_current(database):
            # Imported before the transaction, for which other writers of a SQLite file wait.
            import alembic.operations
            import alembic.script  # noqa: F401

            async with database.connect("schema", immediate=True) as connection:
                await connection.run_sync(_upgrade)
    finally:
        await lock.release()


async def _is_current(database: Database) -> bool:
    async with database.connect("schema") as connection:
        return (await read_facts(connection, database.url)).schema_ready


def _upgrade(connection: Connection) -> None:
    """Run the pending revisions in one transaction."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from oneoff.database.tables import VERSION_TABLE

    scripts = ScriptDirectory(str(Path(__file__).parent))

    def steps(current: Any, _context: MigrationContext) -> Any:
        return scripts._upgrade_revs("head", current)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - what alembic.command.upgrade itself calls

    options = {
        "version_table": VERSION_TABLE,
        "script": scripts,
        "fn": steps,
        "transactional_ddl": True,  # on SQLite too: the engine sends a real BEGIN
    }
    context = MigrationContext.configure(connection, opts=options)
    with context.begin_transaction(), Operations.context(context):
        context.run_migrations()
