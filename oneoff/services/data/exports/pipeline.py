"""Export rows of a table: the steps that all databases and formats share."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.core.errors import Refused, UsageError
from oneoff.services.data.exports.query import Query, parse_conditions
from oneoff.services.data.exports.text_formats import text_format
from oneoff.services.data.files import STDOUT, format_of, open_output, suffix_of
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
    """The arguments and options of `data export`, by their names.

    Attributes:
        table: Name of the table.
        chosen_format: None for the format that the file's name says, or csv.
        output: A path, or "-" for standard output.
        limit: Rows at most; None for all.
        where: Conditions, as typed.
        columns: Names; none for all.
        include_pii: Whether personal data is written as it is.
        excel_safe: Whether cells that look like formulas are neutralised.
        overwrite: Whether a file may be replaced.
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
        """The format the file is written in."""
        return self.chosen_format or format_of(self.output) or "csv"


class ExportSummary(NamedTuple):
    """The numbers of an export that has ended.

    Attributes:
        rows: Rows written.
        size: Bytes written, compressed.
        seconds: Duration, without start and end of the process.
        complete: False if the reader of standard output closed it before the end.
        warnings: For the operator.
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
    """Write rows of a table to a file or to standard output.

    Memory doesn't grow with the table. A file gets its name only when it is complete.

    Raises:
        NotFound: There is no such table.
        UsageError: A column or a condition is wrong.
        CommandError: The file exists already, or can't be written.
    """
    _check(request)
    table = await find_table(await session.connection(), project, request.table)
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
    # The output opens first: if that fails, nothing is read in vain.
    async with open_output(request.output, terminal, overwrite=request.overwrite) as output:
        rows = await _write(session, query, request.format, output, progress)
    warnings = _warnings(query, request)
    return ExportSummary(rows, output.size, monotonic() - started, output.complete, warnings)


def missing_reason(request: ExportRequest) -> Refused:
    """Return the error for --include-pii without --reason."""
    return Refused(
        f"--include-pii needs a reason to write personal data of {request.table}",
        why="the reason is kept in the record of the run",
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
        progress.advance(lines.count(b"\n"))

    connection = await session.connection()
    return await export_rows(connection, query, file_format, take, progress.start)


def _check(request: ExportRequest) -> None:
    problems = []
    if request.limit is not None and request.limit < 1:
        problems.append(f"--limit {request.limit} is not 1 or more")
    if request.excel_safe and request.format != "csv":
        problems.append(f"--excel-safe is for csv, not for {request.format}")
    suffix = suffix_of(request.output)
    if suffix and not request.chosen_format and not format_of(request.output):
        problems.append(f"{request.output} is no name that says a format: give --format")
    if problems:
        raise UsageError(problems)


def _warnings(query: Query, request: ExportRequest) -> list[str]:
    warnings = []
    if query.masked:
        warnings.append(
            f"masked as personal data: {', '.join(query.masked)}; "
            "--include-pii with a --reason writes them"
        )
    if not query.table.declared and not request.include_pii:
        warnings.append(
            f"the project's models don't know {query.table.name}: "
            "nothing in it was masked as personal data"
        )
    if query.excel_safe:
        warnings.append("a file made with --excel-safe is not for importing again")
    return warnings


def summary_data(request: ExportRequest, exported: ExportSummary) -> dict[str, Any]:
    """Return the summary as JSON for a script."""
    return {
        "table": request.table,
        "format": request.format,
        "file": request.output,
        "rows": exported.rows,
        "bytes": exported.size,
        "seconds": round(exported.seconds, 2),
    }
