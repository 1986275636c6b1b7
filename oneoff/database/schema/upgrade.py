"""Create the framework's own tables, or upgrade them to their newest revision.

Their Alembic history and version table are separate from those of the project. A cheap query shows
whether an upgrade is needed; only then is Alembic imported.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneoff.core.options import LOCK_WAIT
from oneoff.database.asyncpg_adapter import driver_of
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
    # Without the lock, two processes could create the same table at the same time.
    lock = await acquire(make_lock(database, "schema"), wait=wait)
    try:
        async with database.connect("schema", immediate=True) as connection:
            # Another process may have upgraded the tables while this one waited for the lock.
            if (await read_facts(connection, database.url)).schema_ready:
                return
            if connection.dialect.name == "sqlite":
                # Alembic is imported next; other writers would wait for this transaction.
                await connection.rollback()
            script = StringIO()
            await connection.run_sync(_upgrade, script)
            if script.getvalue():
                await (await driver_of(connection)).execute(script.getvalue())
            await connection.commit()
    finally:
        await lock.release()


def _upgrade(connection: Connection, script: StringIO) -> None:
    """Run the pending revisions in the open transaction, or write them to `script`.

    PostgreSQL gets one script, because each of its 35 statements would take a round trip.
    """
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
    if connection.dialect.name == "postgresql":
        offline = {"as_sql": True, "output_buffer": script, "literal_binds": True}
        offline["starting_rev"] = context.get_current_revision()
        context = MigrationContext.configure(dialect=connection.dialect, opts=options | offline)
        with Operations.context(context):
            context.run_migrations()
        return
    with context.begin_transaction(), Operations.context(context):
        context.run_migrations()
