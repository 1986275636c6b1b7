"""Run batches over the rows of a file: the cursor is a place in the file."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from oneoff.core.errors import DataError
from oneoff.core.result import Result
from oneoff.services.batch.command import BatchCommand
from oneoff.services.batch.rows.cursor import decode
from oneoff.services.batch.rows.selection import Selection, StepResult
from oneoff.services.batch.run.loop import BatchRun
from oneoff.services.batch.state import checkpoints, claims
from oneoff.services.batch.state.queries import find_current
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy import RowMapping, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.transaction import WorkTransaction
    from oneoff.services.batch.state.checkpoints import Checkpoint
    from oneoff.services.batch.state.identity import Identity

_PLACE = re.compile(r"line (\d+), byte (\d+), sha256 ([0-9a-f]+)")


class Place(NamedTuple):
    """The place up to which a file is imported.

    Attributes:
        line: The last line that is done; 0 for none.
        offset: Bytes up to the end of the line, decompressed.
        digest: The first hexadecimal digits of the SHA-256 of the entire file.
    """

    line: int
    offset: int
    digest: str

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the place that a checkpoint stores."""
        found = _PLACE.fullmatch(text)
        if found is None:
            message = f"{text!r} is not a place in a file"
            raise ValueError(message)
        return cls(int(found[1]), int(found[2]), found[3])

    def __str__(self) -> str:
        return f"line {self.line}, byte {self.offset}, sha256 {self.digest}"


class FileBatch(BatchCommand):
    """The command of a file import; it only has options, because the file has the rows."""


class FileSelection(Selection):
    """The rows of a file; `FileRows`, in `oneoff.services.data.imports.resume`, reads them.

    Attributes:
        name: Name of the file, for messages.
        digest: SHA-256 of the file as it is now.
    """

    name: str
    digest: str

    def is_of(self, cursor: str | None) -> bool:
        """Return whether a checkpoint belongs to the file as it is now."""
        return cursor is not None and Place.read(decode(cursor)).digest == self.digest

    @abstractmethod
    def rows_left(self, after: Place | None) -> int:
        """Return the approximate number of remaining rows."""

    def _declare(self) -> None:
        """Do nothing: the rows are in the file, the command declares none."""

    def keys(self, after: Any) -> Select[Any]:
        """Raise an error: a file has no keys in the database. It is never called."""
        raise NotImplementedError

    def place(self, after: str | None) -> Place | None:
        """Return the place to resume at.

        Raises:
            DataError: `file-changed`: the file was changed after the batch was started.
        """
        found = None if after is None else Place.read(after)
        if found is not None and found.digest != self.digest:
            raise DataError(
                f"{self.name} has changed since it was imported up to line {found.line:,}",
                why="it is unknown which rows of the changed file are imported",
                try_=(
                    "restore the original file, and run the same command",
                    "add --new-run --on-conflict skip to start again and keep existing rows",
                ),
                code="file-changed",
            )
        return found


class FileRun(BatchRun):
    """One run of the batches of a file."""

    _selection: FileSelection

    async def _claim(self, connection: AsyncConnection) -> Checkpoint:
        """Resume the file; a file that is completely imported is only started again on request."""
        # The identity has `once`, so `claim` would return a finished batch of another version of
        # the file too. `_find` does not return it; then a new batch is started.
        is_new = await _find(connection, self._selection, self._identity) is None
        checkpoint = await claims.claim(
            connection, self._database, self._identity, new_run=self._command.new_run or is_new
        )
        self._place(checkpoint.cursor)  # raises for a changed file; the claim is then rolled back
        return checkpoint

    def _say_finished(self, checkpoint: Checkpoint) -> None:
        self._terminal.err(
            f"{self._selection.name} was already imported by {checkpoint.id}: "
            "use --new-run to import it again\n"
        )

    async def _estimate(self) -> None:
        """Show how many rows are left."""
        cursor = self._checkpoint.cursor
        left = self._selection.rows_left(self._place(cursor))
        async with self._transactions.begin() as connection:
            await checkpoints.write_total(connection, self._checkpoint, left)
        self._say_estimate(left)

    def _place(self, cursor: str | None) -> Place | None:
        return self._selection.place(None if cursor is None else decode(cursor))


async def preview_file(
    selection: FileSelection, identity: Identity, work: WorkTransaction
) -> Result:
    """Import the remaining rows in the transaction of a dry run.

    Args:
        selection: The rows of the file.
        identity: To find the batch that a real run would resume.
        work: The transaction, which the executor rolls back.
    """
    new_run = selection.command.new_run
    row = None if new_run else await _find(work.connection, selection, identity)
    after = decode(row["cursor"]) if row and row["cursor"] else None
    done = changed = 0
    last = row is not None and row["finished_at"] is not None
    while not last:
        step: StepResult = await selection.step(
            work.connection, after, selection.command.largest_batch
        )
        done, changed, last = done + step.done, changed + step.changed, step.last
        after = step.key or after
    data = {"rows_done": done, "rows_changed": changed, "batch": row["id"] if row else None}
    if not changed:
        return Result.unchanged("nothing to do", data=data)
    return Result.changed(f"would change {counted(changed, 'row')}", rows=changed, data=data)


async def _find(
    connection: AsyncConnection, selection: FileSelection, identity: Identity
) -> RowMapping | None:
    """Return the batch to resume: an unfinished one, or one that has finished the same file."""
    row = await find_current(connection, identity)
    if row is None or (row["finished_at"] is not None and not selection.is_of(row["cursor"])):
        return None
    return row
