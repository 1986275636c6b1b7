"""`data import`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Flag, Option, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.project import Project
    from oneoff.database.engine import Database
    from oneoff.runtime.progress import Progress
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.batch.resource import BatchRunner, Open
    from oneoff.services.data.imports.request import ImportRequest

Format = Literal["csv", "jsonl", "json", "parquet"]
OnConflict = Literal["error", "skip", "update"]


class Import(BaseCommand):
    """Import the rows of a file into a table: all of them, or none.

    Values in a file from `data export` are read exactly as they were written. If a row can't be
    imported, the error names its line, column and value. With `--rejects`, the other rows are
    imported.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = (
        "data import users users.csv --dry-run",
        "data import users users.jsonl.gz --on-conflict update --confirm",
        "data import users users.csv --rejects bad.csv --confirm",
        "data import users users.csv --resume --confirm",
    )

    table: str = Argument(
        help="Name of the table, with its schema if it needs one.",
        complete="oneoff.services.data.table_names:all_names",
    )
    file: str = Argument(help="File to read; - is standard input.")
    format: Format | None = Option(
        default=None, help="Format of the file; by default from the file's name."
    )
    on_conflict: OnConflict = Option(
        default="error", help="What to do with a row that already exists."
    )
    key: str = Option(
        default="",
        help="Columns that identify an existing row, separated by commas; by default the primary "
        "key.",
    )
    columns: str = Option(
        default="", help="Import only these columns of the file, separated by commas."
    )
    rejects: str = Option(
        default="", help="Write bad rows to this file, and import only the good ones."
    )

    resume: bool = Flag(
        help="Import in batches and save each one; after a stop, the same command continues."
    )
    batch_size: int = Option(
        default=0, help="Rows in each batch, with --resume; 0 for the default of 10,000."
    )
    new_run: bool = Flag(help="With --resume: start again, even if a run could be resumed.")

    def __init__(self, **values: Any) -> None:
        """Set the inputs, and refuse options that can't be combined."""
        super().__init__(**values)
        self._request().check()

    def consequence(self) -> str:
        return f"imports {self.file} into the table {self.table} of {{target}}"

    async def check_inputs(self, session: AsyncSession, project: Project) -> None:
        from oneoff.services.data.imports.pipeline import find_target
        from oneoff.services.data.imports.rejects import refuse_existing_files
        from oneoff.services.data.imports.source import refuse_missing_file

        refuse_missing_file(self.file)
        refuse_existing_files(self.rejects)
        await find_target(await session.connection(), project, self._request())

    async def handle(
        self,
        *,
        batches: BatchRunner,
        database: Database,
        open: Open,  # noqa: A002 - the name of the resource
        project: Project,
        terminal: Terminal,
        progress: Progress,
    ) -> Result:
        from oneoff.services.data.imports.pipeline import import_in_batches, import_rows
        from oneoff.services.data.imports.summary import summary_data, summary_texts

        request = self._request()
        if self.resume:
            return await import_in_batches(batches, database, project, request, terminal)
        # `work` is the transaction of the run. It is not a parameter of `handle`, because it must
        # be opened only after the file has been checked.
        begin = partial(open, "work")
        done = await import_rows(begin, project, request, terminal, progress)
        message, warnings = summary_texts(request, done)
        data = summary_data(request, done)
        if not done.changed:
            return Result.unchanged(message, data=data, warnings=warnings)
        return Result.changed(message, rows=done.changed, data=data, warnings=warnings)

    def _request(self) -> ImportRequest:
        from oneoff.services.data.imports.request import ImportRequest
        from oneoff.utils.text import split_names

        return ImportRequest(
            table=self.table,
            path=self.file,
            chosen_format=self.format,
            on_conflict=self.on_conflict,
            key=split_names(self.key),
            columns=split_names(self.columns),
            rejects=self.rejects,
            resume=self.resume,
            batch_size=self.batch_size,
            new_run=self.new_run,
        )
