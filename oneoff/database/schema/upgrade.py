"""Bring the framework's tables to their newest revision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from oneoff.database.schema.facts import VERSION_TABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from oneoff.database.engine import Database


async def upgrade(database: Database) -> None:
    """Run the pending revisions of the framework in one transaction; the caller holds the lock."""
    async with database.connect("schema", immediate=True) as connection:
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
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
