"""`data export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from oneoff import Access, Argument, BaseCommand, Flag, Option, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.project import Project
    from oneoff.core.run import Run
    from oneoff.runtime.progress import Progress
    from oneoff.runtime.terminal import Terminal

Format = Literal["csv", "jsonl", "json", "sql", "parquet"]


class Export(BaseCommand):
    """Write the rows of a table to a file or to standard output.

    Rows are in the order of the primary key. Columns that the models mark as personal data are
    masked. A file appears only when it is complete. If its name ends in `.gz` or `.zst`, it is
    compressed.
    """

    access = Access.READ
    examples = (
        "data export users -o users.csv.gz",
        "data export users --format jsonl --where active=true --limit 100",
        "data export users --columns id,email --include-pii --reason 'ticket 4711' -o mails.csv",
    )

    table: str = Argument(
        help="Name of the table, with its schema if it needs one.",
        complete="oneoff.services.data.table_names:all_names",
    )
    format: Format | None = Option(
        default=None, help="Format of the file; by default from the file's name, or csv."
    )
    output: str = Option(default="-", short="o", help="File to write; - is standard output.")
    limit: int | None = Option(default=None, short="l", help="Write at most this many rows.")
    where: list[str] = Option(
        default=[],
        help="Write only rows that match every condition: COLUMN=VALUE, or with != < <= > >= or ~ "
        "(contains).",
    )
    columns: str = Option(default="", help="Write only these columns, separated by commas.")
    include_pii: bool = Flag(help="Write personal data unmasked; needs --reason.")
    excel_safe: bool = Flag(help="Put ' before texts that a spreadsheet reads as formulas (csv).")
    overwrite: bool = Flag(help="Replace an existing file.")

    def fills_stdout(self) -> bool:
        return self.output == "-"

    async def handle(
        self,
        session: AsyncSession,
        project: Project,
        run: Run,
        terminal: Terminal,
        progress: Progress,
    ) -> Result:
        from oneoff.services.data.exports.pipeline import (
            ExportRequest,
            export,
            missing_reason,
            summary_data,
        )
        from oneoff.utils.text import counted, split_names

        request = ExportRequest(
            table=self.table,
            chosen_format=self.format,
            output=self.output,
            limit=self.limit,
            where=self.where,
            columns=split_names(self.columns),
            include_pii=self.include_pii,
            excel_safe=self.excel_safe,
            overwrite=self.overwrite,
        )
        if self.include_pii and not run.reason:
            raise missing_reason(request)
        done = await export(session, project, request, terminal, progress)
        message = f"exported {counted(done.rows, 'row')} of {self.table}"
        if not done.complete:
            message = f"stopped exporting {self.table}: the reader closed the output"
        elif self.output != "-":
            message += f" to {self.output}"
        return Result.report(summary_data(request, done), message, warnings=done.warnings)
