"""The engine of `BatchCommand`, as the resource `batches`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from oneoff.batch import BatchCommand, BatchRange
from oneoff.mode import Mode
from oneoff.resources.database import Database
from oneoff.resources.progress import Progress
from oneoff.result import Result
from oneoff.run import Run
from oneoff.terminal import Terminal

if TYPE_CHECKING:
    from oneoff.resources.work import WorkTransaction

    Open = Callable[[str], Awaitable[Any]]

EVERYTHING = BatchRange()


class Batches:
    """Runs the batches of one run: for real on connections of its own, or as a preview.

    Args:
        database: Where.
        mode: Whether it is real.
        run: Whose rows they are.
        work: The dry run's transaction. A real run has none: it would stay idle all the time, and
            on SQLite hold the write lock.
        progress: Shows how far it is.
        terminal: Says what happens besides.
    """

    def __init__(
        self,
        *,
        database: Database,
        mode: Mode,
        run: Run,
        work: WorkTransaction | None,
        progress: Progress,
        terminal: Terminal,
    ) -> None:
        self._database, self._mode, self._run = database, mode, run
        self._work, self._progress, self._terminal = work, progress, terminal

    async def run(
        self, command: BatchCommand, *, limits: BatchRange = EVERYTHING, part: str = ""
    ) -> Result:
        """Do all batches of a command, from where an unfinished run of it stopped.

        Args:
            command: What to do.
            limits: Only rows with keys in this range.
            part: Names this one of several batches of the run; each has its own checkpoint.

        Raises:
            BatchRunning: Another run works at the same batch.
            BatchTakenOver: Another run took it from this one.
            BatchBound: The run went as far as it may; its work is saved.
            BatchCancelled: An operator gave the batch up.
        """
        from oneoff.batching.identity import identify
        from oneoff.batching.selection import make_selection

        selection = make_selection(command, limits)
        identity = identify(command, self._run.command, part)
        if self._work is not None:
            from oneoff.batching.preview import preview

            return await preview(command, selection, identity, self._work, self._mode)
        from oneoff.batching.runner import BatchRun

        return await BatchRun(
            command,
            selection,
            identity,
            self._database,
            terminal=self._terminal,
            progress=self._progress,
        ).run()


@asynccontextmanager
async def open_batches(
    *,
    database: Database,
    mode: Mode,
    run: Run,
    open: Open,  # noqa: A002 - the name of the resource
    progress: Progress,
    terminal: Terminal,
) -> AsyncIterator[Batches]:
    """Give what runs batches; for real it connects when one runs."""
    work = None if mode is Mode.COMMIT else await open("work")
    yield Batches(
        database=database, mode=mode, run=run, work=work, progress=progress, terminal=terminal
    )
