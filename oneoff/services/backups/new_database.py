"""Restore into a new PostgreSQL database, and swap it with the old one by renaming both.

The old database works until the swap, which is one transaction. Until then a failure drops the new
database. If the process is killed, the new database stays: the next restore removes it.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from oneoff.core.errors import ConfigurationError, Unavailable
from oneoff.database import sqlstates
from oneoff.database.engine import Database
from oneoff.database.locks.postgresql import number_of
from oneoff.database.schema.upgrade import ensure_schema
from oneoff.services.backups.client_programs import run_program
from oneoff.services.backups.record import carry_over
from oneoff.services.backups.restore_list import options_for
from oneoff.services.backups.sessions import end_sessions, in_use, list_sessions
from oneoff.services.migrations.errors import message_of, own_sqlstate
from oneoff.services.migrations.scratch import PREFIX, drop_database
from oneoff.services.shell.database_client import libpq_environ
from oneoff.utils.concurrency import cancelled, uninterrupted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.backups.checked import Checked, Target

_ADMINISTRATION = ("postgres", "template1")  # databases that every server has
_MAY = """
SELECT (rolcreatedb OR rolsuper) AND pg_has_role(datdba, 'USAGE')
FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()
"""
# The columns of the locale differ between versions, so the row is read as JSON.
_CREATE = """
SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L',
              $1::text, pg_encoding_to_char(encoding), datcollate, datctype)
    || CASE facts ->> 'datlocprovider'
           WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', locale)
           WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', locale)
           ELSE '' END
    || CASE spcname WHEN 'pg_default' THEN '' ELSE format(' TABLESPACE %I', spcname) END
FROM pg_database AS d JOIN pg_tablespace AS t ON t.oid = dattablespace,
     to_jsonb(d) AS facts,
     coalesce(facts ->> 'datlocale', facts ->> 'daticulocale', facts ->> 'datcollate') AS locale
WHERE datname = $2
"""
# What belongs to the database and is not in its dump: owner, limit, privileges.
_PROPERTIES = """
SELECT format('ALTER DATABASE %I CONNECTION LIMIT %s', $1::text, datconnlimit)
FROM pg_database WHERE datname = $2
UNION ALL
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', $1) FROM pg_database
WHERE datname = $2 AND datacl IS NOT NULL
UNION ALL
SELECT format('GRANT %s ON DATABASE %I TO %s', privilege_type, $1,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
    || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM pg_database, aclexplode(datacl) WHERE datname = $2 AND grantee <> datdba
UNION ALL
SELECT format('ALTER DATABASE %I OWNER TO %I', $1, pg_get_userbyid(datdba))
FROM pg_database WHERE datname = $2
"""
# The settings of the database (role 0), and of roles in it. The server writes the value, because a
# list such as search_path is not quoted like a text.
_SETTINGS = """
SELECT split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1),
       CASE setrole WHEN 0 THEN format('ALTER DATABASE %I', $1::text)
            ELSE format('ALTER ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), $1) END
       || format(' SET %s FROM CURRENT', split_part(setting, '=', 1))
FROM pg_db_role_setting, unnest(setconfig) AS setting
WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = $2)
"""
_RENAME = "SELECT format('ALTER DATABASE %I RENAME TO %I', $1::text, $2::text)"
_POLL = 0.1  # seconds between two attempts to end the sessions that hold up the swap


class MayNotSwap(Exception):
    """The user may not create a database with the properties of the old one."""


async def may_swap(database: Database) -> bool:
    """Return whether the user may create databases, and rename this one."""
    async with database.connect("restore") as connection:
        if not (await connection.exec_driver_sql(_MAY)).scalar_one():
            return False
    async with AsyncExitStack() as stack:
        return await _administration(stack, database) is not None


async def restore_into_new(checked: Checked, target: Target, kept: str) -> None:
    """Replace the database by a new one, and keep the old one under the name `kept`.

    Raises:
        CommandError: It failed, and the old database is as it was.
        MayNotSwap: The user may not give a new database the properties of the old one.
        TemporaryError: Others use the old database.
    """
    old = target.database.url.database
    async with AsyncExitStack() as stack:
        admin = await _administration(stack, target.database)
        assert admin is not None  # noqa: S101 - see `may_swap`
        server = await stack.enter_async_context(admin.autocommit("restore"))
        async with _new_database(server, target.database) as new:
            await _load(checked, target, new)
            await uninterrupted(_swap(admin, server, target, {old: kept, new.url.database: old}))


async def _administration(stack: AsyncExitStack, database: Database) -> Database | None:
    """Return another database of the server to connect to; None if the user may not."""
    for name in _ADMINISTRATION:
        admin = Database(
            database.url._replace(database=name), run_id=database.run_id, project=database.project
        )
        stack.push_async_callback(admin.dispose)
        try:
            async with admin.connect("restore"):
                if name != database.url.database:
                    return admin
        except (ConfigurationError, Unavailable):
            continue
    return None


@asynccontextmanager
async def _new_database(server: AsyncConnection, old: Database) -> AsyncIterator[Database]:
    """Create an empty database with the properties of the old one; drop it unless it was renamed.

    The connection holds the lock that shows that the database is in use.
    """
    name = f"{PREFIX}{old.run_id}"
    await server.exec_driver_sql("SELECT pg_advisory_lock($1)", (number_of(name),))
    new = Database(old.url._replace(database=name), run_id=old.run_id, project=old.project)
    try:
        try:
            await _create(server, name, old.url.database)
        except DBAPIError as exc:
            if own_sqlstate(exc) == sqlstates.INSUFFICIENT_PRIVILEGE:
                raise MayNotSwap(message_of(exc)) from exc
            raise
        yield new
    finally:
        await new.dispose()
        await uninterrupted(drop_database(server, name))


async def _create(server: AsyncConnection, name: str, like: str) -> None:
    """Create a database with the properties of another one."""
    of = (name, like)
    await server.exec_driver_sql((await server.exec_driver_sql(_CREATE, of)).scalar_one())
    for statement in (await server.exec_driver_sql(_PROPERTIES, of)).scalars().all():
        await server.exec_driver_sql(statement)
    settings: list[Any] = [*(await server.exec_driver_sql(_SETTINGS, of)).all()]
    for setting, value, alter in settings:
        await server.exec_driver_sql("SELECT set_config($1, $2, false)", (setting, value))
        await server.exec_driver_sql(alter)
        await server.exec_driver_sql("RESET ALL")


async def _load(checked: Checked, target: Target, new: Database) -> None:
    environ = libpq_environ(new.url, target.environ)
    assert checked.pg_restore is not None  # noqa: S101 - it is a backup of PostgreSQL
    with tempfile.NamedTemporaryFile("w", errors="surrogateescape") as entries:
        options = options_for(checked, entries, checked.entries)
        name = f"--dbname={new.url.database}"  # a name of ours, so it is not read as parameters
        arguments = [name, "--exit-on-error", *options, checked.path]
        await run_program(checked.pg_restore, arguments, environ)
    await ensure_schema(new)
    await carry_over(target.database, new, checked, target.here)
    async with new.autocommit("restore") as connection:
        await connection.exec_driver_sql("ANALYZE")  # a dump has no statistics


async def _swap(
    admin: Database, server: AsyncConnection, target: Target, names: dict[str, str]
) -> None:
    """Rename both databases in one transaction.

    RENAME first takes a lock that nobody can connect without, and then waits for up to 5 seconds
    until all sessions have ended. Meanwhile the other connection ends them, with those of this run.
    """
    renaming = asyncio.ensure_future(_rename(admin, names))
    try:
        while not renaming.done():
            await asyncio.wait([renaming], timeout=_POLL)
            await end_sessions(server, target, own=True)
        await renaming
    except DBAPIError as exc:
        if own_sqlstate(exc) not in (sqlstates.OBJECT_IN_USE, sqlstates.INSUFFICIENT_PRIVILEGE):
            raise
        raise in_use(target, await list_sessions(server, target), message_of(exc)) from exc
    finally:
        await cancelled([renaming])


async def _rename(admin: Database, names: dict[str, str]) -> None:
    async with admin.transaction("restore") as connection:
        for name, new_name in names.items():
            rename = await connection.exec_driver_sql(_RENAME, (name, new_name))
            await connection.exec_driver_sql(rename.scalar_one())
