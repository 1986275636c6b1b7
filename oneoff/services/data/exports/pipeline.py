"""Export the rows of a table: the steps that all databases and formats share."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.core.errors import Refused, UsageError
from oneoff.services.data.exports.query import Query, parse_conditions
from oneoff.services.data.exports.text_formats import text_format
from oneoff.services.data.exports.view_sources import refuse_personal_data
from oneoff.services.data.files import STDOUT, format_of, open_output, removed_warning, suffix_of
from oneoff.services.data.tables import find_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.project import Project
    from oneoff.runtime.progress import Progress
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.data.files import Format, Output

    WriteRows = Callable[[bytes], Awaitable[None]]


class ExportRequest(NamedTuple):
    """The arguments and options of `data export`.

    Attributes:
        table: The table's name.
        chosen_format: None to derive the format from the file's name, or else use csv.
        output: A path, or "-" for standard output.
        limit: The largest number of rows; None for all.
        where: Conditions as typed.
        columns: The columns' names; empty for all.
        include_pii: Whether to write personal data unmasked.
        excel_safe: Whether to neutralize cells that look like formulas.
        overwrite: Whether an existing file may be replaced.
    """

    table: str
    chosen_format: Format | None = None
    output: str = STDOUT
    limit: int | None = None
    where: Sequence[str] = ()
    columns: Sequence[str] = ()
    include_pii: bool = False
    excel_safe: bool = False
    overwrite: bool = False

    @property
    def format(self) -> Format:
        """The format in which the file is written."""
        return self.chosen_format or format_of(self.output) or "csv"


class ExportSummary(NamedTuple):
    """The result of an export.

    Attributes:
        rows: Rows written.
        size: Bytes written, after compression.
        seconds: Duration, without the start and end of the process.
        complete: False if the reader closed standard output before the end.
        warnings: Messages for the operator.
    """

    rows: int
    size: int
    seconds: float
    complete: bool
    warnings: Sequence[str]


async def export(
    session: AsyncSession,
    project: Project,
    request: ExportRequest,
    terminal: Terminal,
    progress: Progress,
) -> ExportSummary:
    """Write the rows of a table to a file or to standard output.

    Memory use does not grow with the table. A file gets its name only when it is complete.

    Raises:
        NotFound: The table does not exist.
        UsageError: A column or a condition is invalid.
        CommandError: The file already exists, or can't be written.
    """
    _check(request)
    connection = await session.connection()
    table = await find_table(connection, project, request.table)
    if table.is_view and not table.declared and not request.include_pii:
        await refuse_personal_data(connection, table, project)
    query = Query(
        table=table,
        columns=table.columns_named(request.columns),
        conditions=parse_conditions(table, request.where),
        limit=request.limit,
        mask_pii=not request.include_pii,
        excel_safe=request.excel_safe,
    )
    started = monotonic()
    rows = 0
    # Open the output first: if that fails, no row has been read without use.
    async with open_output(request.output, terminal, overwrite=request.overwrite) as output:
        rows = await _write(session, query, request.format, output, progress)
    warnings = [*_warnings(query, request), *removed_warning(output.removed)]
    return ExportSummary(rows, output.size, monotonic() - started, output.complete, warnings)


def missing_reason(request: ExportRequest) -> Refused:
    """Return the error for --include-pii without --reason."""
    return Refused(
        f"--include-pii needs a reason to write personal data of {request.table}",
        why="the reason is stored in the run's record",
        try_=f"python manage.py data export {request.table} --include-pii --reason 'why'",
        code="reason-required",
    )


async def _write(
    session: AsyncSession, query: Query, file_format: Format, output: Output, progress: Progress
) -> int:
    if file_format == "parquet":
        from oneoff.services.data.exports.parquet import ParquetRows

        parquet = ParquetRows(query.columns, output)
        count = await _send_rows(session, query, file_format, parquet.take, progress)
        await parquet.finish()
        return count
    text = text_format(file_format, query)

    async def write(lines: bytes) -> None:
        await output.write(text.rows(lines))

    await output.write(text.header())
    count = await _send_rows(session, query, file_format, write, progress)
    await output.write(text.footer())
    return count


async def _send_rows(
    session: AsyncSession, query: Query, file_format: Format, write: WriteRows, progress: Progress
) -> int:
    if query.table.dialect == "postgresql":
        from oneoff.services.data.exports.postgresql import export_postgresql as export_rows
    else:
        from oneoff.services.data.exports.sqlite import export_sqlite as export_rows

    async def take(lines: bytes) -> None:
        await write(lines)
        # About one row for each line feed; a csv cell may contain more of them.
        progress.advance(lines.count(b"\n"))

    connection = await session.connection()
    return await export_rows(connection, query, file_format, take, progress.start)


def _check(request: ExportRequest) -> None:
    problems = []
    if request.limit is not None and request.limit < 1:
        problems.append(f"--limit {request.limit} is less than 1")
    if request.excel_safe and request.format != "csv":
        problems.append(f"--excel-safe is for csv, not for {request.format}")
    suffix = suffix_of(request.output)
    if suffix and not request.chosen_format and not format_of(request.output):
        problems.append(f"the name {request.output} does not show a known format: give --format")
    if problems:
        raise UsageError(problems)


def _warnings(query: Query, request: ExportRequest) -> list[str]:
    warnings = []
    if query.masked:
        warnings.append(
            f"masked as personal data: {', '.join(query.masked)}; "
            "to export the values, give --include-pii and --reason"
        )
    if not query.table.declared and not request.include_pii:
        columns = "no other column" if query.masked else "no column of it"
        warnings.append(
            f"the project's models do not declare {query.table.name}: "
            f"{columns} was masked as personal data"
        )
    if query.table.children:
        warnings.append(
            f"{query.table.name} was exported without the rows of the tables that inherit from it; "
            f"export them too: {', '.join(query.table.children)}"
        )
    if query.excel_safe:
        warnings.append("do not import this file again: --excel-safe may have changed cells")
    return warnings


def summary_data(request: ExportRequest, exported: ExportSummary) -> dict[str, Any]:
    """Return the summary as JSON data for scripts."""
    return {
        "table": request.table,
        "format": request.format,
        "file": request.output,
        "rows": exported.rows,
        "bytes": exported.size,
        "seconds": round(exported.seconds, 2),
    }
