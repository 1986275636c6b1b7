"""Process a batch row by row, and write the rows that fail to a file: `--rejects`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from oneoff.core.errors import CommandError, DataError
from oneoff.database.errors import translate_error
from oneoff.services.batch.rows.cursor import encode
from oneoff.services.batch.rows.selection import RowWise, StepResult
from oneoff.services.batch.transactions import session_in
from oneoff.utils.files import file_advice, open_private
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    Failed = list[tuple[Any, CommandError]]


class FailedRowsFile:
    """The file for rows that fail: JSON lines with key and error, readable only by its owner.

    It is opened when the first row fails. A line is on the disk before its batch is committed:
    after a crash a row may be in the file twice, but none is missing.

    Args:
        path: The file; None if no row may fail.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def check_place(self, batch: str, run_id: str) -> None:
        """Refuse an existing file, unless this run resumes the batch that has written it.

        Args:
            batch: Id of the batch, which starts with the id of the run that started the batch.
            run_id: Id of this run.

        Raises:
            CommandError: `file-exists`.
        """
        if self._path is not None and batch.startswith(run_id) and os.path.lexists(self._path):
            raise CommandError(
                f"{self._path} already exists",
                why="it may contain rows that another batch has skipped",
                try_="choose another name with --rejects",
                code="file-exists",
            )

    def write(self, failed: Failed) -> None:
        """Append rows that failed to the file, and wait until they are on the disk.

        Raises:
            DataError: `rejects-file`: it can't be written.
        """
        if self._path is None or not failed:
            return
        try:
            self._file = self._file or open(  # noqa: SIM115 - `close` does
                self._path, "a", encoding="utf-8", opener=open_private
            )
            for key, error in failed:
                what = {"key": json.loads(encode(key)), "code": error.code, "error": error.message}
                self._file.write(json.dumps(what, ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise DataError(
                f"{str(self._path)!r} can't be written: {exc.strerror}",
                why="without the file, the failed rows would be lost; their batch was rolled back",
                try_=f"{file_advice(exc)}, or name another file with --rejects; then run it again",
                code="rejects-file",
            ) from exc

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def rejects_warning(count: int) -> str:
    """Return the warning that rows were rejected."""
    return f"skipped {counted(count, 'row')}, written to the --rejects file"


def row_error(exc: Exception) -> CommandError | None:
    """Return the error if it was caused by a row; otherwise None."""
    if isinstance(exc, CommandError):
        of_row = isinstance(exc, DataError) or exc.exit_code == CommandError.exit_code
        return exc if of_row else None
    error = translate_error(exc)
    return error if error is not None and error.code == "constraint-violation" else None


async def process_row_by_row(
    connection: AsyncConnection, selection: RowWise, after: Any, size: int
) -> tuple[StepResult, Failed]:
    """Process the batch after a key with one savepoint for each row; return the rows that failed.

    Call it after the entire batch has failed. The savepoint undoes only the row that fails, so the
    other rows are committed with the checkpoint.
    """
    async with session_in(connection) as session:
        keys, _ = await selection.page(session, after, size)
    changed, failed = 0, []
    for key in keys:
        try:
            async with session_in(connection) as session:
                changed += await selection.one(session, key)
        except Exception as exc:
            error = row_error(exc)
            if error is None:
                raise
            failed.append((key, error))
    last = len(keys) < size
    key = keys[-1] if keys else None
    return StepResult(key, len(keys), changed, last, errors=len(failed)), failed
