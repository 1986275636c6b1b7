"""Drop the invalid index that an interrupted CREATE INDEX CONCURRENTLY has left.

PostgreSQL keeps such an index: it costs every write, and no query uses it. Without this, the next
attempt would fail because the index exists, or skip it with IF NOT EXISTS.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import text

from oneoff.services.migrations.lint.operations import read_operations

if TYPE_CHECKING:
    from sqlalchemy import Connection

_CONCURRENTLY = re.compile(r"\bindex\s+concurrently\b", re.IGNORECASE)
# An index that another session is building is invalid too. That session holds a lock of this mode
# on the table.
_INVALID = text("""
SELECT n.nspname, c.relname FROM pg_index
  JOIN pg_class AS c ON c.oid = indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE NOT indisvalid AND c.relname = :name AND indrelid = to_regclass(:table)
   AND NOT EXISTS (SELECT FROM pg_locks WHERE relation = indrelid AND pid <> pg_backend_pid()
                                          AND mode = 'ShareUpdateExclusiveLock')
""")


def drop_invalid(connection: Connection, sql: str) -> str:
    """Drop the invalid index that a statement is about to create; return its name, or nothing.

    Args:
        connection: A connection outside of a transaction.
        sql: The statement.
    """
    if connection.dialect.name != "postgresql" or not _CONCURRENTLY.search(sql):
        return ""
    new = next(iter(read_operations(sql)))
    if new.kind != "create-index" or not new.name:
        return ""
    quote = connection.dialect.identifier_preparer.quote_identifier
    table = ".".join(quote(part) for part in new.table.split("."))
    found = connection.execute(_INVALID, {"name": new.name, "table": table}).one_or_none()
    if found is None:
        return ""
    connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {'.'.join(map(quote, found))}")
    return new.name
