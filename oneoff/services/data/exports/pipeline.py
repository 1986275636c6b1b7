"""Export rows of a table: what is the same for every database and format."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.core.errors import Refused, UsageError
from oneoff.services.data.exports.text_formats import framing_of
from oneoff.services.data.exports.query import Selection
from oneoff.services.data.exports.conditions import read_conditions
from oneoff.services.data.files import STDOUT, format_of, open_output, suffix_of
from oneoff.services.data.tables import find_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.project import Project
    from oneoff.runtime.progress import Progress
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.data.files import Format, Output
    from oneoff.services.data.tables import Table

    Take = Callable[[bytes], Awaitable[None]]


class Request(NamedTuple):
    """What an operator asks for; the words are those of `data export`.

    Attributes:
        table: Name of the table.
        kind: The format; None takes that of the file's name, or csv.
        output: A path, or "-" for standard output.
        limit: Rows at most; None for all.
        where: Conditions, as typed.
        columns: Names; none for all.
        include_pii: Whether personal data is written as it is.
        excel_safe: Whether cells that look like formulas are neutralised.
        overwrite: Whether a file may be replaced.
    """

    table: str
    kind: Format | None = None
    output: str = STDOUT
    limit: int | None = None
    where: Sequence[str] = ()
    columns: Sequence[str] = ()
    include_pii: bool = False
    excel_safe: bool = False
    overwrite: bool = False

    @property
    def format(self) -> Format:
        """The format it is written in."""
        return self.kind or format_of(self.output) or "csv"


class Exported(NamedTuple):
    """What came of it.

    Attributes:
        rows: Rows written.
        size: Bytes written, compressed.
        seconds: How long it took, without start and end of the process.
        complete: False when the reader of standard output had enough before the end.
        warnings: What the operator should know.
    """

    rows: int
    size: int
    seconds: float
    complete: bool
    warnings: Sequence[str]


async def export(
    session: AsyncSession,
    project: Project,
    request: Request,
    terminal: Terminal,
    progress: Progress,
) -> Exported:
    """Write rows of a table to a file or to standard output.

    Memory doesn't grow with the table. A file has its name only when it is complete.

    Raises:
        NotFound: There is no such table.
        UsageError: A column or a condition is wrong.
        CommandError: The file is there already, or can't be written.
    """
    _check(request)
    table = await find_table(await session.connection(), project, request.table)
    selection = _select(table, request)
    started = monotonic()
    rows = 0
    # It opens first: what can't be written is not read.
    async with open_output(request.output, terminal, overwrite=request.overwrite) as output:
        rows = await _write(session, selection, request.format, output, progress)
    warnings = _warnings(selection, request)
    return Exported(rows, output.size, monotonic() - started, output.complete, warnings)


def reason_missing(request: Request) -> Refused:
    """Return the error for personal data that is asked for without saying why."""
    return Refused(
        f"--include-pii needs a reason to write personal data of {request.table}",
        why="the reason is kept in the record of the run",
        try_=f"python manage.py data export {request.table} --include-pii --reason 'why'",
        code="reason-required",
    )


async def _write(
    session: AsyncSession, selection: Selection, kind: Format, output: Output, progress: Progress
) -> int:
    if kind == "parquet":
        from oneoff.services.data.exports.parquet import ParquetRows

        parquet = ParquetRows(selection.columns, output)
        count = await _send(session, selection, kind, parquet.take, progress)
        await parquet.finish()
        return count
    framing = framing_of(kind, selection)

    async def write(rows: bytes) -> None:
        await output.write(framing.feed(rows))

    await output.write(framing.begin())
    count = await _send(session, selection, kind, write, progress)
    await output.write(framing.end())
    return count


async def _send(
    session: AsyncSession, selection: Selection, kind: Format, write: Take, progress: Progress
) -> int:
    if selection.table.dialect == "postgresql":
        from oneoff.services.data.exports.postgresql import export_postgresql as export_rows
    else:
        from oneoff.services.data.exports.sqlite import export_sqlite as export_rows

    async def take(rows: bytes) -> None:
        await write(rows)
        progress.advance(rows.count(b"\n"))

    return await export_rows(session, selection, kind, take, progress.start)


def _check(request: Request) -> None:
    problems = []
    if request.limit is not None and request.limit < 1:
        problems.append(f"--limit {request.limit} is not 1 or more")
    if request.excel_safe and request.format != "csv":
        problems.append(f"--excel-safe is for csv, not for {request.format}")
    suffix = suffix_of(request.output)
    if suffix and not request.kind and not format_of(request.output):
        problems.append(f"{request.output} is no name that says a format: give --format")
    if problems:
        raise UsageError(problems)


def _select(table: Table, request: Request) -> Selection:
    return Selection(
        table=table,
        columns=table.chosen(request.columns),
        conditions=read_conditions(table, request.where),
        limit=request.limit,
        masks=not request.include_pii,
        excel_safe=request.excel_safe,
    )


def _warnings(selection: Selection, request: Request) -> list[str]:
    warnings = []
    if selection.hidden:
        warnings.append(
            f"masked as personal data: {', '.join(selection.hidden)}; "
            "--include-pii with a --reason writes them"
        )
    if not selection.table.declared and not request.include_pii:
        warnings.append(
            f"the project's models don't know {selection.table.name}: "
            "nothing in it was masked as personal data"
        )
    if selection.excel_safe:
        warnings.append("a file made with --excel-safe is not for importing again")
    return warnings


def facts(request: Request, exported: Exported) -> dict[str, Any]:
    """Return what a script may want to know."""
    return {
        "table": request.table,
        "format": request.format,
        "file": request.output,
        "rows": exported.rows,
        "bytes": exported.size,
        "seconds": round(exported.seconds, 2),
    }
