"""Create the framework's own tables, or upgrade them to their newest revision.

Their Alembic history and version table are separate from those of the project. A cheap query shows
whether an upgrade is needed; only then is Alembic imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneoff.core.options import LOCK_WAIT
from oneoff.database.locks.acquire import acquire, make_lock
from oneoff.database.schema.facts import read_facts

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection

    from oneoff.database.engine import Database


async def ensure_schema(database: Database, *, wait: float = LOCK_WAIT) -> None:
    """Create or upgrade the framework's tables; do nothing if they are current.

    Several processes may call it at the same time.

    Args:
        database: The database.
        wait: Seconds to wait for another process that does the same; 0 tries once.

    Raises:
        LockBusy: The other process did not finish in this time.
    """
    if await _is_current(database):
        return
    # Without the lock, two processes could create the same table at the same time.
    lock = await acquire(make_lock(database, "schema"), wait=wait)
    try:
        # Another process may have upgraded the tables while this one waited for the lock.
        if not await _is_current(database):
            # Import Alembic before the transaction: other writers of a SQLite file wait for that.
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
        "transactional_ddl": True,  # on SQLite too, because the engine sends a real BEGIN
    }
    context = MigrationContext.configure(connection, opts=options)
    with context.begin_transaction(), Operations.context(context):
        context.run_migrations()
