"""Run batches over the rows of a file: the cursor is a place in the file."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from sqlalchemy import select

from oneoff.core.errors import DataError, UsageError
from oneoff.core.result import Result
from oneoff.database.tables import batches
from oneoff.runtime.audit.abandoned import close_abandoned
from oneoff.services.batch.command import BatchCommand
from oneoff.services.batch.rows.cursor import decode
from oneoff.services.batch.rows.selection import Selection, StepResult
from oneoff.services.batch.run.loop import BatchRun
from oneoff.services.batch.state import checkpoints, claims
from oneoff.services.batch.state.checkpoints import State
from oneoff.services.batch.state.queries import find_current, find_newest
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        digest: The first hexadecimal digits of the SHA-256 of the entire file, decompressed.
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
        content: Identifies the content of the file and the table; a batch is resumed by it.
        arguments: JSON of what the import does, with "file" and "table".
    """

    name: str
    content: str
    arguments: str

    @abstractmethod
    def rows_left(self, after: Place | None) -> int:
        """Return the approximate number of remaining rows."""

    def _declare(self) -> None:
        """Do nothing: the rows are in the file, the command declares none."""

    def keys(self, after: Any) -> Select[Any]:
        """Raise an error: a file has no keys in the database. It is never called."""
        raise NotImplementedError

    def place(self, after: str | None) -> Place | None:
        """Return the place to resume at."""
        return None if after is None else Place.read(after)


class FileRun(BatchRun):
    """One run of the batches of a file."""

    _selection: FileSelection

    async def _claim(self, connection: AsyncConnection) -> Checkpoint:
        """Resume the file; a file that is completely imported is only started again on request."""
        new_run = self._command.new_run
        if new_run:
            await self._cancel_changed(connection)
        else:
            await _refuse_other_import(connection, self._selection, self._identity)
        return await claims.claim(connection, self._database, self._identity, new_run=new_run)

    async def _cancel_changed(self, connection: AsyncConnection) -> None:
        """Cancel the unfinished import of an earlier content of the file."""
        await close_abandoned(connection, self._database)
        for row in await _unfinished_of_file(connection, self._identity):
            await claims.refuse_while_running(connection, row, self._database.run_id)
            note = f"started again by run {self._database.run_id}"
            await checkpoints.cancel_unfinished(connection, row["id"], note)

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
    row = None
    if not selection.command.new_run:
        await _refuse_other_import(work.connection, selection, identity)
        row = await find_current(work.connection, identity)
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


async def _refuse_other_import(
    connection: AsyncConnection, selection: FileSelection, identity: Identity
) -> None:
    """Refuse an import that would repeat rows, or that did not do what is asked for now.

    Raises:
        DataError: `file-changed`: an import of the file is unfinished, and the file has changed.
        UsageError: `already-imported`: the same content was imported with other options, or until
            an operator cancelled it.
    """
    row = await find_newest(connection, identity)
    if row is None:
        for other in await _unfinished_of_file(connection, identity):
            if other["cursor"]:  # otherwise no row was imported, and a correction is no problem
                raise _file_changed(selection.name, other)
        return
    differences = _differences(json.loads(row["arguments"]), json.loads(identity.arguments))
    what = ""
    if differences:
        what = f"was imported by {row['id']} with other options: {'; '.join(differences)}"
    elif State(row["status"]) is State.CANCELLED and row["cursor"]:
        what = f"was imported up to {_line_of(row)} by {row['id']}, which was cancelled"
    if what:
        raise UsageError(
            f"{selection.name} {what}",
            try_=(
                f"python manage.py batch show {row['id']}",
                "add --new-run to import the file again from its start",
            ),
            code="already-imported",
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {_shown(before[name])}, not {_shown(now[name])}"
        for name in ("on_conflict", "key", "columns")
        if before[name] != now[name]
    ]


def _shown(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none"


def _file_changed(name: str, row: RowMapping) -> DataError:
    return DataError(
        f"{name} has changed since it was imported up to {_line_of(row)}",
        why="it is unknown which rows of the changed file are imported",
        try_=(
            "restore the original file, and run the same command",
            "add --new-run --on-conflict skip to start again and keep existing rows",
        ),
        code="file-changed",
    )


def _line_of(row: RowMapping) -> str:
    return f"line {Place.read(decode(row['cursor'])).line:,}" if row["cursor"] else "line 0"


async def _unfinished_of_file(connection: AsyncConnection, identity: Identity) -> list[RowMapping]:
    """Return the unfinished imports of the same file into the same table with another content."""
    others = select(batches).where(
        batches.c.command == identity.command,
        batches.c.key != identity.key,
        batches.c.finished_at.is_(None),
    )
    rows = (await connection.execute(others)).mappings().all()
    same = _file_and_table(identity.arguments)
    return [row for row in rows if _file_and_table(row["arguments"]) == same]


def _file_and_table(arguments: str) -> tuple[str, str]:
    facts = json.loads(arguments)
    return facts["file"], facts["table"]
