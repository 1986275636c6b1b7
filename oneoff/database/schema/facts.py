"""Read a database's facts about itself, and store which environment it belongs to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from oneoff.config.environment import Facts, same_database
from oneoff.core.errors import ConfigurationError
from oneoff.database.asyncpg_adapter import driver_of
from oneoff.database.queries_as_text import query_if, read_values

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.config.database_url import DatabaseURL

HEAD = "0009"
"""The newest revision of the framework's tables.

Revisions have increasing numbers. They only add tables and columns, so that code older than the
tables still works."""

_STORED = (
    "(SELECT max(version_num) FROM oneoff_alembic_version)",
    "(SELECT environment FROM oneoff_environment)",
    "(SELECT cluster_identity FROM oneoff_environment)",
)
_OPEN_RUNS = """(
SELECT json_agg(json_build_object('id', id, 'host', host, 'pid', pid,
    'process_started', process_started, 'started_at', started_at))
FROM oneoff_runs WHERE status = 'started'
)"""
_CLUSTER = query_if(
    "has_function_privilege('pg_control_system()', 'EXECUTE')",
    "system_identifier::text",
    "FROM pg_control_system()",
)
_STORED_IF_MIGRATED = query_if(
    "to_regclass('oneoff_alembic_version') IS NOT NULL", ", ".join([*_STORED, _OPEN_RUNS])
)
_POSTGRESQL = f"""
SELECT current_database(), oid::text, current_schema(),
       extract(epoch FROM pg_postmaster_start_time())::text,
       pg_backend_pid(), current_setting('track_counts') = 'on', {_CLUSTER}, {_STORED_IF_MIGRATED}
FROM pg_database WHERE datname = current_database()
"""  # noqa: S608 - constant texts
_NOTHING_STORED = ("''", "''", "''")
_SQLITE_ABOUT = "SELECT count(*) FROM sqlite_master WHERE name = 'oneoff_alembic_version'"


async def read_facts(connection: AsyncConnection, url: DatabaseURL) -> Facts:
    """Return the database's facts about itself, read in the caller's transaction."""
    if url.dialect == "postgresql":
        return await _read_postgresql(connection)
    return await _read_sqlite(connection, url)


async def store_environment(connection: AsyncConnection, facts: Facts, environment: str) -> None:
    """Store which environment the database belongs to, with its identity.

    Args:
        connection: A connection whose transaction the caller commits.
        facts: The facts of this database from `read_facts`.
        environment: "production", "staging", ...
    """
    from datetime import UTC, datetime
    from uuid import uuid4

    from sqlalchemy import delete, insert

    from oneoff.database.tables import environments

    identity = facts.identity
    if identity.startswith("@"):
        # The identity of this SQLite file has no random part yet.
        identity = f"{uuid4().hex}{identity}"
    await connection.execute(delete(environments))
    await connection.execute(
        insert(environments).values(
            id=1,
            environment=environment,
            cluster_identity=identity,
            database_name=facts.database,
            stored_at=datetime.now(UTC),
        )
    )


async def check_same_database(facts: Facts, connected: DatabaseURL, main: DatabaseURL) -> None:
    """Check that the connected database is the one that the application uses.

    Args:
        facts: The facts of the connected database.
        connected: Its URL: MIGRATION_DATABASE_URL or DATABASE_URL.
        main: DATABASE_URL.

    Raises:
        ConfigurationError: They are two databases, and only one of them would be migrated.
        Unavailable: The database of DATABASE_URL can't be reached.
    """
    if connected.dialect == "sqlite" or connected == main:
        return
    from oneoff.database.engine import Database

    database = Database(main, run_id="check")
    try:
        async with database.connect("check") as connection:
            other = await read_facts(connection, main)
    finally:
        await database.dispose()
    if not same_database(facts, other):
        raise ConfigurationError(
            "MIGRATION_DATABASE_URL and DATABASE_URL name two different databases",
            why=f"the first is {connected.safe()}, the second is {main.safe()}",
            try_="set both to the same database; MIGRATION_DATABASE_URL may bypass a pooler",
            code="migration-url-mismatch",
        )


async def _read_postgresql(connection: AsyncConnection) -> Facts:
    row: Any = (await connection.exec_driver_sql(_POSTGRESQL)).one()
    name, oid, schema, server, process, counts, cluster, stored = row
    if connection.dialect.default_schema_name is None:  # see `Database.connect`
        connection.dialect.default_schema_name = schema
    driver = await driver_of(connection)
    if hasattr(driver, "server_process"):  # not the connection of a project's own engine
        driver.server_process = (process, counts)
    (system,) = read_values(cluster) or ("",)
    version, environment, identity, open_runs = read_values(stored) or ("", "", "", None)
    return Facts(
        name,
        f"{system}/{oid}",
        environment or "",
        identity or "",
        (version or "") >= HEAD,
        server,
        tuple(open_runs or ()),
    )


async def _read_sqlite(connection: AsyncConnection, url: DatabaseURL) -> Facts:
    about = await connection.exec_driver_sql(_SQLITE_ABOUT)
    stored = bool(about.scalar_one())
    version, environment, identity = await _select(
        connection, *(_STORED if stored else _NOTHING_STORED)
    )
    return Facts(url.name, _sqlite_identity(identity, url), environment, identity, version >= HEAD)


def _sqlite_identity(stored: str, url: DatabaseURL) -> str:
    """Return the identity of a SQLite file: `<random>@<inode>:<path>`.

    The random part was created when the environment was first stored. A copy of the file has the
    same random part, but another path and another inode. If only one of the two differs, it is the
    same file: it was moved, has a second hard link, or its directory is mounted at another path.
    """
    random, _, place = stored.partition("@")
    inode, _, path = place.partition(":") if not place.startswith("/") else ("", "", place)
    here = os.stat(url.database).st_ino if os.path.exists(url.database) else 0
    if stored and (path == url.database or inode == str(here)):
        return stored
    return f"{random}@{here}:{url.database}"


async def _select(connection: AsyncConnection, *expressions: str) -> tuple[str, ...]:
    found = await connection.exec_driver_sql(f"SELECT {', '.join(expressions)}")
    return tuple(value or "" for value in found.one())
