"""Import the rows of a file: the steps that all databases and formats share.

`import_rows` imports a file in one transaction, `import_in_batches` in batches (`--resume`). Both
check the file, find the table and make the plan. Then one of these modules writes the rows:

| Database | File | Written by |
| --- | --- | --- |
| SQLite | any | `sqlite.insert` |
| PostgreSQL | csv | `postgresql.copy_csv` |
| PostgreSQL | csv, with `--rejects` | `postgresql.copy_with_rejects`, or as in the next row |
| PostgreSQL | JSON, Parquet; csv of which the table refuses a row | `postgresql.staged_import` |

With `--resume` the same modules write one batch at a time; `resume` chooses the module.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from oneoff.core.errors import DataError, UsageError
from oneoff.core.result import Result
from oneoff.database import sqlstates
from oneoff.database.errors import driver_message, sqlstate_of
from oneoff.services.data.imports.file_check import bad_quote_error, check_file
from oneoff.services.data.imports.insert_statement import insert_statement
from oneoff.services.data.imports.offsets import refuse_offsets
from oneoff.services.data.imports.plan import Plan, make_plan, refuse_masks
from oneoff.services.data.imports.readers.csv_reader import CsvReader, read_header
from oneoff.services.data.imports.rejects import (
    ERRORS_SUFFIX,
    Rejects,
    refuse_existing_files,
)
from oneoff.services.data.imports.source import open_source
from oneoff.services.data.imports.summary import ImportSummary
from oneoff.services.data.tables import find_table
from oneoff.utils.concurrency import in_daemon_thread
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.core.project import Project
    from oneoff.database.engine import Database
    from oneoff.database.transaction import WorkTransaction
    from oneoff.runtime.progress import Progress
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.batch.resource import BatchRunner
    from oneoff.services.data.imports.readers.base import Chunk, Reader, Row
    from oneoff.services.data.imports.request import ImportRequest
    from oneoff.services.data.imports.source import Source
    from oneoff.services.data.tables import Table

# A deferrable constraint of exactly the columns `key`.
_DEFERRABLE_KEY = text("""
SELECT c.conname FROM pg_constraint c JOIN pg_index i ON i.indexrelid = c.conindid
WHERE c.conrelid = to_regclass(:table) AND c.contype IN ('p', 'u') AND NOT i.indimmediate
  AND CAST(:key AS text[]) = ARRAY(
      SELECT a.attname::text FROM pg_attribute a
      WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
      ORDER BY a.attname::text COLLATE "C")
LIMIT 1
""")
_FRAMEWORK_TABLES = "oneoff_"
_SAMPLE_ROWS = 1_000
"""The number of rows that are checked for masked personal data."""


async def import_rows(
    begin: Callable[[], Awaitable[WorkTransaction]],
    project: Project,
    request: ImportRequest,
    terminal: Terminal,
    progress: Progress,
) -> ImportSummary:
    """Import a file in one transaction: all of its rows, or none.

    Args:
        begin: Opens the resource `work`: the transaction that the executor commits, or rolls back
            in a dry run.
        project: The project, whose models mark personal data.
        request: The options.
        terminal: The run's terminal.
        progress: The run's progress.

    Raises:
        NotFound: The table does not exist.
        UsageError: An option is invalid.
        DataError: The file or a row can't be imported.
    """
    refuse_existing_files(request.rejects)
    async with open_source(request.path, terminal) as source:
        reader, size = await in_daemon_thread(lambda: _open_reader(source, request))
        # Only now: while a slow pipe is read, other processes must be able to get SQLite's write
        # lock.
        work = await begin()
        if not reader.names:  # JSON without rows names no columns
            await find_target(work.connection, project, request)
            return ImportSummary(0, 0)
        plan = await _plan(work.connection, project, request, reader)
        await _check_key(work.connection, plan)
        progress.start(size, unit="rows" if request.format == "parquet" else "bytes")
        async with Rejects(request.rejects, reader, terminal) as rejects:
            done = await _write_rows(work, plan, reader, rejects, progress)
        warnings = [*done.warnings, *rejects.warnings]
        done = done._replace(rejected=rejects.count, warnings=warnings)
        if done.rejected and done.total == done.rejected:
            raise _all_rejected(source.name, request.rejects, done.total)
        return done


async def import_in_batches(
    batches: BatchRunner,
    database: Database,
    project: Project,
    request: ImportRequest,
    terminal: Terminal,
) -> Result:
    """Import a file in batches, each in its own transaction; continue a stopped run.

    Raises:
        NotFound: The table does not exist.
        UsageError: An option is invalid.
        DataError: The file or a row can't be imported; the batches before it are kept.
    """
    from oneoff.services.data.imports.resume import FileRows, file_batch

    async with open_source(request.path, terminal) as source:
        reader, _ = await in_daemon_thread(lambda: _open_reader(source, request))
        async with database.connect() as connection:
            if not reader.names:
                await find_target(connection, project, request)
                return Result.unchanged(f"nothing to do in {request.table}")
            plan = await _plan(connection, project, request, reader)
            await _check_key(connection, plan)
        batch = file_batch(request)
        rows = await in_daemon_thread(lambda: FileRows(batch, reader, plan, terminal=terminal))
        result = await batches.run_file(rows)
    if not result.did_change:
        return result
    return replace(result, message=f"imported {counted(result.rows, 'row')} into {request.table}")


async def _write_rows(
    work: WorkTransaction, plan: Plan, reader: Reader, rejects: Rejects, progress: Progress
) -> ImportSummary:
    """Choose the module that writes the rows, as the table in the module's docstring shows."""
    connection = work.connection

    def advance(chunk: Chunk) -> None:
        progress.advance(chunk.size, rows=len(chunk.raw_rows))

    if plan.table.dialect == "sqlite":
        from oneoff.services.data.imports.sqlite.insert import import_sqlite

        return await import_sqlite(connection, plan, reader, rejects, advance)
    if rejects.enabled:
        from oneoff.services.data.imports.postgresql.copy_with_rejects import import_with_rejects

        return await import_with_rejects(work, plan, reader, rejects, advance)
    if isinstance(reader, CsvReader):
        from oneoff.services.data.imports.postgresql.copy_csv import (
            StagedRowRefused,
            import_by_copy,
        )

        try:
            return await import_by_copy(connection, plan, reader, progress)
        except StagedRowRefused:
            progress.start(0, unit="bytes")  # the file is read again, to name the refused rows
    from oneoff.services.data.imports.postgresql.staged_import import import_staged

    return await import_staged(connection, plan, reader, rejects, advance)


def _all_rejected(name: str, rejects: str, count: int) -> DataError:
    return DataError(
        f"{name}: none of the {counted(count, 'row')} can be imported",
        why=f"the errors are in {rejects}{ERRORS_SUFFIX}",
        try_=f"correct {rejects}, and import it",
        code="bad-rows",
    )


async def _plan(
    connection: AsyncConnection, project: Project, request: ImportRequest, reader: Reader
) -> Plan:
    name = reader.source.name
    table = await find_target(connection, project, request)
    plan = reader.plan = make_plan(table, reader.names, name, request)
    await in_daemon_thread(lambda: refuse_masks(plan, name, _sample(reader, plan)))
    if request.format != "parquet":  # its times have a type of their own
        await in_daemon_thread(lambda: refuse_offsets(plan, reader))
    return plan


async def find_target(
    connection: AsyncConnection, project: Project, request: ImportRequest
) -> Table:
    """Return the table to import into.

    Raises:
        NotFound: The table does not exist.
        UsageError: It is a view, or a table of the framework.
    """
    table = await find_table(connection, project, request.table)
    if table.is_view:
        raise UsageError(
            f"{table.name} is a view, which stores no rows",
            try_="import into the table that it reads",
        )
    if table.schema_and_name[1].startswith(_FRAMEWORK_TABLES):
        raise UsageError(
            f"{table.name} belongs to oneoff, and only its commands write to it",
            try_="copy the rows of another database with pg_dump, or copy the SQLite file",
        )
    return table


def _open_reader(source: Source, request: ImportRequest) -> tuple[Reader, int]:
    """Check the file; return its reader and its size.

    The unit of the size is rows for Parquet, and bytes for other formats.
    """
    file_format = request.format
    if file_format == "parquet":
        from oneoff.services.data.imports.readers.parquet_reader import ParquetReader

        parquet = ParquetReader(source)
        return parquet, parquet.rows
    facts = check_file(source, file_format)
    if file_format == "csv":
        # The header first: in a file with other separators, most quotes are in wrong places.
        header = read_header(source, mixed_line_ends=facts.mixed_line_ends)
        if facts.bad_quote is not None:
            raise bad_quote_error(source, facts.bad_quote)
        return CsvReader(source, header), facts.size
    from oneoff.services.data.imports.readers.json_reader import JsonArrayReader, JsonReader

    make = JsonReader if file_format == "jsonl" else JsonArrayReader
    return make(source, request.columns), facts.size


async def _check_key(connection: AsyncConnection, plan: Plan) -> None:
    """Refuse a key by which the database can't find existing rows.

    Raises:
        UsageError: No unique index or constraint covers the key, one that does is deferrable, or
            the table accepts no ON CONFLICT.
    """
    if not plan.key:
        return
    option, table, key = f"--on-conflict {plan.on_conflict}", plan.table.name, ", ".join(plan.key)
    # EXPLAIN plans the INSERT without writing, and fails with the same error as the INSERT would.
    nothing = f"SELECT {plan.quoted_columns} FROM {plan.table.quoted} WHERE false"  # noqa: S608 - quoted
    try:
        await connection.exec_driver_sql(f"EXPLAIN {insert_statement(plan, nothing)}")
    except DBAPIError as exc:
        if sqlstate_of(exc).startswith(sqlstates.FEATURE_NOT_SUPPORTED):  # a table with rules
            raise UsageError(f"{option}: {table} refuses it: {driver_message(exc)}") from exc
        no_such_key = sqlstate_of(exc) == sqlstates.INVALID_COLUMN_REFERENCE
        if not no_such_key and "ON CONFLICT clause" not in str(exc.orig):
            raise
        raise UsageError(f"{option}: {table} has no unique index on {key}") from exc
    if plan.table.dialect == "postgresql":
        # EXPLAIN does not find this; the INSERT would fail.
        names = {"table": plan.table.quoted, "key": sorted(plan.key)}
        constraint = await connection.scalar(_DEFERRABLE_KEY, names)
        if constraint:
            raise UsageError(
                f"{option}: the key {key} of {table} is deferrable, and PostgreSQL finds no "
                f"existing rows by such a key ({constraint})",
                try_=(
                    "give other unique columns with --key",
                    "or make the constraint NOT DEFERRABLE in a migration",
                ),
            )


def _sample(reader: Reader, plan: Plan) -> list[Row]:
    rows: list[Row] = []
    for chunk in reader.chunks():
        first = chunk._replace(raw_rows=chunk.raw_rows[: _SAMPLE_ROWS - len(rows)])
        parsed = reader.parse(first, plan)
        rows += [parsed.row(position) for position in range(len(parsed.indexes))]
        if len(rows) >= _SAMPLE_ROWS:
            break
    return rows
