"""Prepare the connection on which revisions run: clients that end, and foreign keys on SQLite."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from oneoff.core.errors import CommandError
from oneoff.database.asyncpg_adapter import leads_through_pooler
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

# A backend checks only between statements whether its client was killed. Until then, a long
# ALTER TABLE would continue and hold its locks, although no process waits for it.
# client_connection_check_interval (PostgreSQL 14, Linux) makes the backend check during a
# statement. The setting is local to the transaction (`true`).
_CHECK_CLIENT = """
SELECT set_config('client_connection_check_interval', '2s', true)
WHERE version() LIKE '%linux%' AND current_setting('server_version_num')::int >= 140000;
"""


async def prepare_connection(connection: AsyncConnection) -> bool:
    """Prepare a connection for changing the schema; return whether it goes through a pooler."""
    if connection.dialect.name == "sqlite":
        driver: Any = (await connection.get_raw_connection()).driver_connection
        # Alembic changes a SQLite table by copying it and dropping the old one. With foreign keys
        # on, that drop would delete the rows that refer to the table. The pragma has no effect in
        # a transaction, so it is sent through the driver, outside of any transaction.
        # `check_foreign_keys` checks before the commit.
        await driver.execute("PRAGMA foreign_keys=OFF")
        return False
    event.listen(connection.sync_connection, "begin", _check_client)
    return await leads_through_pooler(connection)


def _check_client(connection: Connection) -> None:
    # In autocommit mode there is no transaction to which the setting could be local.
    if not commits_itself(connection):
        # Sent with the BEGIN that follows.
        driver: Any = connection.connection.driver_connection
        driver.after_begin = _CHECK_CLIENT


def commits_itself(connection: Connection) -> bool:
    """Return whether each statement commits itself, as in `autocommit_block`."""
    return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


def dangling_rows(connection: Connection) -> Counter[tuple[str, str]]:
    """Count the rows that refer to rows that don't exist, by their table and the other one."""
    if connection.dialect.name != "sqlite":
        return Counter()
    found = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return Counter((row[0], row[2]) for row in found)


def check_foreign_keys(connection: Connection, before: Counter[tuple[str, str]]) -> None:
    """Check that the revision added no row that refers to nothing; there may be older ones."""
    after = dangling_rows(connection)
    added, gone = after - before, before - after
    tables = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
    renamed = sum(rows for (table, other), rows in gone.items() if not {table, other} <= tables)
    if added.total() > renamed:
        names = ", ".join(sorted(f"{table} (to {other})" for table, other in added))
        message = f"{counted(added.total(), 'row')} would refer to rows that don't exist: {names}"
        raise CommandError(message, code="foreign-key-violation")
