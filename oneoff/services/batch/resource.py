"""Provide the resource `batches`, which runs the batches of a command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from oneoff.config.settings import Config
from oneoff.core.policy import Mode
from oneoff.core.result import Result
from oneoff.core.run import Run
from oneoff.database.engine import Database
from oneoff.database.limits import declared_limits
from oneoff.runtime.progress import Progress
from oneoff.runtime.terminal import Terminal
from oneoff.services.batch.command import BatchCommand, BatchRange
from oneoff.services.batch.run.bounds import Bounds, DutyCycle

if TYPE_CHECKING:
    from oneoff.database.transaction import WorkTransaction
    from oneoff.services.batch.run.context import RunContext
    from oneoff.services.batch.run.files import FileSelection

    Open = Callable[[str], Awaitable[Any]]

EVERYTHING = BatchRange()


class BatchRunner:
    """Runs the batches of one run on separate connections, or previews them in a dry run.

    It implements `Batches`; `run_file` is only for `data import`.

    Args:
        database: The database with the rows.
        mode: Commit, rollback or read-only.
        run: The run.
        config: Of the process.
        work: The transaction of a dry run. A real run has none: it would be idle during all
            batches, and on SQLite it would hold the write lock.
        progress: Shows how many rows are done.
        terminal: For messages to the operator.
        open: Opens a resource that only some batches need.
    """

    def __init__(
        self,
        *,
        database: Database,
        mode: Mode,
        run: Run,
        config: Config,
        work: WorkTransaction | None,
        progress: Progress,
        terminal: Terminal,
        open: Open,  # noqa: A002 - the name of the resource
    ) -> None:
        self._open = open
        self._database, self._mode, self._run, self._config = database, mode, run, config
        self._work, self._progress, self._terminal = work, progress, terminal
        self._duty_cycle = DutyCycle()

    async def run(
        self,
        command: BatchCommand,
        *,
        limits: BatchRange = EVERYTHING,
        part: str = "",
        name: str = "",
        reverts: str = "",
    ) -> Result:
        """Run all batches of a command: see `Batches`."""
        from oneoff.services.batch.rows.selection import make_selection
        from oneoff.services.batch.state.identity import identify

        # The batch of `data transform` is not the command of the run, and has limits of its own.
        self._database.limits = self._database.limits.over(declared_limits(command))
        if command.fleet:
            from oneoff.services.batch.run.fleet import check_fleet

            check_fleet(command, self._database, self._run.command)
        shard_number, shards = command.shards_to_do(self._config.environ)
        selection = make_selection(command, limits)
        identity = identify(command, name or self._run.command, part, reverts)
        if self._work is not None:
            from oneoff.services.batch.preview import Preview

            preview = Preview(selection, identity, self._work, self._mode)
            return await preview.run(shard_number=shard_number, shards=shards)
        from oneoff.services.batch.run.start import start

        async with self._run_context(command, worker=bool(self._run.shard)) as context:
            return await start(
                selection,
                identity,
                context,
                shard_number=shard_number,
                shards=shards,
                open_jobs=lambda: self._open("jobs"),
            )

    async def parts_to_run(self, parts: Mapping[str, BatchCommand]) -> set[str]:
        """Return the parts that have rows to process or a batch to resume; all in a dry run.

        Starting a batch takes 40 round trips, also if there is nothing to do.
        """
        from oneoff.services.batch.rows.selection import make_selection
        from oneoff.services.batch.state.queries import parts_to_run

        if self._work is not None:
            return set(parts)
        selections = {part: make_selection(command, EVERYTHING) for part, command in parts.items()}
        async with self._database.connect() as connection:
            return await parts_to_run(connection, self._run.command, selections)

    async def run_file(self, selection: FileSelection) -> Result:
        """Process all rows of a file in batches; resume after the last checkpoint."""
        from oneoff.services.batch.run.files import FileRun, preview_file
        from oneoff.services.batch.state.identity import Identity

        # As with `--once`, a finished import is not started again. A run that was killed after its
        # last commit did not report the end, and the same command would import every row again.
        identity = Identity(
            self._run.command, selection.arguments, once=True, content=selection.content
        )
        if self._work is not None:
            return await preview_file(selection, identity, self._work)
        async with self._run_context(selection.command) as context:
            return await FileRun(selection, identity, context).run()

    def _run_context(self, command: BatchCommand, *, worker: bool = False) -> RunContext:
        from oneoff.services.batch.run.context import Liveness, RunContext
        from oneoff.services.batch.run.rejects import FailedRowsFile

        return RunContext(
            run=self._run,
            database=self._database,
            terminal=self._terminal,
            progress=self._progress,
            duty_cycle=self._duty_cycle,
            bounds=Bounds(command, worker=worker),
            rejects=FailedRowsFile(command.rejects),
            liveness=Liveness(self._database),
        )


@asynccontextmanager
async def open_batches(
    *,
    database: Database,
    mode: Mode,
    run: Run,
    config: Config,
    open: Open,  # noqa: A002 - the name of the resource
    progress: Progress,
    terminal: Terminal,
) -> AsyncIterator[BatchRunner]:
    """Open the resource; a real run connects when its first batch starts."""
    work = None if mode is Mode.COMMIT else await open("work")
    yield BatchRunner(
        database=database,
        mode=mode,
        run=run,
        config=config,
        work=work,
        progress=progress,
        terminal=terminal,
        open=open,
    )
