"""Restore into the PostgreSQL database itself, in one transaction.

This is for a user that may not create databases. The objects of the project are dropped, and those
of the backup created, by a script that psql runs. pg_restore writes the script. COMMIT is sent only
after pg_restore has written all of it, so if a program fails or is killed, the server rolls back.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from oneoff.database.tables import applied_revisions, batches, outbox
from oneoff.services.backups.client_programs import Child, find_program, start
from oneoff.services.backups.record import copy_marks
from oneoff.services.backups.restore_list import options_for, without_framework
from oneoff.services.backups.sessions import end_sessions
from oneoff.services.migrations.drop_all import find_objects
from oneoff.services.shell.database_client import libpq_environ

if TYPE_CHECKING:
    from sqlalchemy import ClauseElement, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.backups.checked import Checked, Target

_CHUNK = 1 << 20  # bytes
_SCHEMAS = """
SELECT nspname FROM pg_namespace AS n WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_extension WHERE extnamespace = n.oid
                    AND nspname <> current_schema())
"""
# A lock that others hold must not make this transaction wait, because it holds locks of its own.
_BEGIN = """\
BEGIN;
SET LOCAL lock_timeout = '5s';
SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
"""
# The script of pg_restore has set an empty search_path. It has not set the number of the last
# effect, because it does not restore the sequence, which belongs to the framework's table.
_AFTER = """\
RESET search_path;
SELECT setval(pg_get_serial_sequence('oneoff_outbox', 'id'), coalesce(max(id), 0) + 1, false)
FROM oneoff_outbox;
"""


async def restore_in_place(checked: Checked, target: Target) -> None:
    """Replace the objects of the project, and the rows of the framework that belong to the data.

    The record of runs stays as it is: that of the backup is not read.

    Raises:
        CommandError: It failed, and was rolled back.
    """
    loaded: list[Table] = [applied_revisions, batches, outbox]
    async with target.database.connect("restore") as connection:
        before = await _before(connection, loaded)
        marks = [_text(mark, connection) for mark in copy_marks(checked, target.here)]
        await end_sessions(connection, target, own=False)
    assert checked.pg_restore is not None  # noqa: S101 - it is a backup of PostgreSQL
    environ = libpq_environ(target.database.url, target.environ)
    psql = await find_program("psql", checked.pg_restore.version, target.environ)
    quiet = ["--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1"]
    with tempfile.NamedTemporaryFile("w", errors="surrogateescape") as file:
        entries = without_framework(checked.entries, [table.name for table in loaded])
        options = [*options_for(checked, file, entries), "--file=-", checked.path]
        pipe = asyncio.subprocess.PIPE
        async with (
            start(psql, quiet, environ, stdin=pipe) as reader,
            start(checked.pg_restore, options, environ, stdout=pipe) as writer,
        ):
            await _pass_on(before, writer, reader, "".join([_AFTER, *marks, "COMMIT;\n"]))


async def _before(connection: AsyncConnection, loaded: list[Table]) -> str:
    """Return the statements that empty the database."""
    schemas = list((await connection.exec_driver_sql(_SCHEMAS)).scalars())
    objects = await find_objects(connection, schemas, schemas)
    tables = ", ".join(table.name for table in loaded)
    dropped = [found.drop(connection.dialect) for found in objects]
    return _BEGIN + "".join(f"{line};\n" for line in [f"TRUNCATE {tables}", *dropped])


def _text(statement: ClauseElement, connection: AsyncConnection) -> str:
    compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    return f"{compiled};\n"


async def _pass_on(before: str, writer: Child, reader: Child, after: str) -> None:
    """Send the script of one program to the other, between the two texts."""
    script, sink = writer.process.stdout, reader.process.stdin
    assert script is not None and sink is not None  # noqa: S101, PT018 - they are pipes
    # If psql ends early, its own error says why.
    with suppress(BrokenPipeError, ConnectionResetError):
        sink.write(before.encode())
        while chunk := await script.read(_CHUNK):
            sink.write(chunk)
            await sink.drain()
        await writer.wait()
        sink.write(after.encode())
        await sink.drain()
    sink.close()
    await reader.wait()
