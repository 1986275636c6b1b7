"""Write the GRANT statements for a role that can add to the record, and change nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from oneoff.core.errors import ConfigurationError
from oneoff.database.tables import audit
from oneoff.runtime.audit.chain import SCHEMA

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

RIGHTS = {
    "oneoff_audit": "SELECT, INSERT",
    "oneoff_runs": "SELECT, INSERT, UPDATE",
    "oneoff_shell_inputs": "SELECT, INSERT",
    "oneoff_alembic_version": "SELECT",
    "oneoff_applied_revisions": "SELECT",
    "oneoff_environment": "SELECT",
    "oneoff_maintenance": "SELECT, INSERT, UPDATE",
    "oneoff_approvals": "SELECT, INSERT, UPDATE",
    "oneoff_approvers": "SELECT, INSERT",
    "oneoff_approval_uses": "SELECT, INSERT",
    "oneoff_batches": "SELECT, INSERT, UPDATE, DELETE",
    "oneoff_outbox": "SELECT, INSERT, UPDATE, DELETE",
}
"""The rights on each of the framework's tables. `migrate`, `audit archive` and `system environment
set` need the owner."""
_SEQUENCES = ("oneoff_shell_inputs_id_seq", "oneoff_outbox_id_seq")


async def grants(connection: AsyncConnection, role: str) -> str:
    """Return the statements as SQL.

    Args:
        connection: A connection to the database.
        role: The role; it need not exist yet.

    Raises:
        ConfigurationError: The database has no roles.
    """
    if connection.dialect.name != "postgresql":
        raise ConfigurationError(
            "SQLite has no roles",
            why="a user who can write the file can change everything in it",
            try_="use PostgreSQL, and run `audit roles` there",
            code="no-roles",
        )
    quote = connection.dialect.identifier_preparer.quote_identifier
    schema = quote(str(await connection.scalar(select(SCHEMA).select_from(audit).limit(1))))
    to = f"TO {quote(role)};"
    lines = [f"GRANT USAGE ON SCHEMA {schema} {to}"]
    lines += [f"GRANT {rights} ON {schema}.{table} {to}" for table, rights in RIGHTS.items()]
    lines += [f"GRANT USAGE ON SEQUENCE {schema}.{name} {to}" for name in _SEQUENCES]
    return "\n".join(lines)
