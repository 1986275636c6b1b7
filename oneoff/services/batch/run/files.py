"""Batches of the rows of a file: the key is a place in the file."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from oneoff.core.errors import DataError
from oneoff.core.result import Result
from oneoff.services.batch.command import BatchCommand
from oneoff.services.batch.rows.cursor import decode
from oneoff.services.batch.rows.selection import Selection, Step
from oneoff.services.batch.run.bounds import Bounds
from oneoff.services.batch.run.loop import BatchRun, Shared
from oneoff.services.batch.run.rejects import Rejects
from oneoff.services.batch.run.throttling import Pace
from oneoff.services.batch.state import checkpoints, claims
from oneoff.services.batch.run.shared import Liveness
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy import RowMapping, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.database.transaction import WorkTransaction
    from oneoff.runtime.progress import Progress
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.batch.state.checkpoints import Checkpoint
    from oneoff.services.batch.state.identity import Identity

_PLACE = re.compile(r"line (\d+), byte (\d+), sha256 ([0-9a-f]+)")


class Place(NamedTuple):
    """How far a file is done.

    Attributes:
        line: The last that is done; 0 for none.
        offset: Bytes up to its end, decompressed.
        digest: The beginning of the whole file's SHA-256, in hexadecimal digits.
    """

    line: int
    offset: int
    digest: str

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the place that a checkpoint holds."""
        found = _PLACE.fullmatch(text)
        if found is None:
            message = f"{text!r} is no place in a file"
            raise ValueError(message)
        return cls(int(found[1]), int(found[2]), found[3])

    def __str__(self) -> str:
        return f"line {self.line}, byte {self.offset}, sha256 {self.digest}"


class FileBatch(BatchCommand):
    """Stand for the rows of a file where the engine asks for a command."""


class FileSelection(Selection):
    """The rows of a file.

    Attributes:
        name: Of the file, for messages.
        digest: SHA-256 of it as it is now.
    """

    name: str
    digest: str

    def is_of(self, cursor: str | None) -> bool:
        """Return whether a checkpoint is one of the file as it is now."""
        return cursor is not None and Place.read(decode(cursor)).digest == self.digest

    @abstractmethod
    def rows_left(self, after: Place | None) -> int:
        """Return about how many rows are left."""

    def _declare(self) -> None:
        """Ask the command nothing: the file says what is to be done."""

    def keys(self, after: Any) -> Select[Any]:
        """Refuse: a file has no keys in the database."""
        raise NotImplementedError

    def place(self, after: str | None) -> Place | None:
        """Return where to go on.

        Raises:
            DataError: The file is not the one that was begun with.
        """
        found = None if after is None else Place.read(after)
        if found is not None and found.digest != self.digest:
            raise DataError(
                f"{self.name} has changed since it was imported up to line {found.line:,}",
                why="nobody knows which of its rows are done",
                try_=(
                    "bring back the file as it was, and run the same command",
                    "--new-run --on-conflict skip begins again, and leaves alone what is there",
                ),
                code="file-changed",
            )
        return found


class FileRun(BatchRun):
    """One run of the batches of a file, for real."""

    _selection: FileSelection

    async def _claim_in(self, connection: AsyncConnection) -> Checkpoint:
        """Go on with the file; one that is imported to its end is not begun again by itself."""
        anew = await _find(connection, self._selection, self._identity) is None
        mine = await claims.claim(
            connection, self._database, self._identity, new_run=self._command.new_run or anew
        )
        self._place(mine.cursor)  # a file that has changed is refused, and nothing is claimed
        return mine

    def _say_finished(self, mine: Checkpoint) -> None:
        self._terminal.err(
            f"{self._selection.name} is done already, by {mine.id}: --new-run begins it again\n"
        )

    async def _estimate(self) -> None:
        """Say how many rows are left."""
        cursor = self._mine.cursor
        left = self._selection.rows_left(self._place(cursor))
        async with self._transactions.begin() as connection:
            await checkpoints.write_total(connection, self._mine, left)
        self._say_estimate(left)

    def _place(self, cursor: str | None) -> Place | None:
        return self._selection.place(None if cursor is None else decode(cursor))


async def run_file(
    selection: FileSelection,
    identity: Identity,
    *,
    database: Database,
    terminal: Terminal,
    progress: Progress,
) -> Result:
    """Run the batches of a file for real.

    Args:
        selection: Its rows.
        identity: Which batch that is.
        database: Where.
        terminal: What is said goes there.
        progress: Shows how far it is.
    """
    shared = Shared(
        database=database,
        bounds=Bounds(selection.command),
        rejects=Rejects(None),
        liveness=Liveness(database),
        terminal=terminal,
        progress=progress,
        pace=Pace(),
    )
    try:
        return await FileRun(selection.command, selection, identity, shared).run()
    finally:
        await shared.liveness.release()


async def preview_file(
    selection: FileSelection, identity: Identity, work: WorkTransaction
) -> Result:
    """Do all that a real run would do now, in the transaction of a dry run.

    Args:
        selection: Its rows.
        identity: To find the batch that a real run would resume.
        work: What the executor rolls back.
    """
    new_run = selection.command.new_run
    row = None if new_run else await _find(work.connection, selection, identity)
    after = decode(row["cursor"]) if row and row["cursor"] else None
    done = changed = 0
    last = row is not None and row["finished_at"] is not None
    while not last:
        step: Step = await selection.step(work.connection, after, selection.command.largest_batch)
        done, changed, last = done + step.done, changed + step.changed, step.last
        after = step.key or after
    data = {"rows_done": done, "rows_changed": changed, "batch": row["id"] if row else None}
    if not changed:
        return Result.unchanged("nothing to do", data=data)
    return Result.changed(f"would change {counted(changed, 'row')}", rows=changed, data=data)


async def _find(
    connection: AsyncConnection, selection: FileSelection, identity: Identity
) -> RowMapping | None:
    """Return the batch to go on with: the unfinished one, or the one that has done this file."""
    row = await claims.find_current(connection, identity)
    if row is None or (row["finished_at"] is not None and not selection.is_of(row["cursor"])):
        return None
    return row
