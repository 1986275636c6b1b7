"""Rows that were left out because they failed: JSON lines with the key and the error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

from oneoff.core.errors import CommandError, DataError, ExitCode
from oneoff.database.errors import translate_error
from oneoff.services.batch.rows.cursor import encode
from oneoff.utils.files import private
from oneoff.utils.text import counted

_ROW_EXITS = frozenset({ExitCode.FAILED, ExitCode.DATA})
_ROW_ERRORS = frozenset({"constraint-violation"})


class Rejects:
    """A file that is opened when the first row fails, for its owner alone.

    A line is on the disk before the batch it belongs to is committed: after a crash a row may
    stand there twice, but none is missing.

    Args:
        path: The file; None where no row may fail.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def check_place(self, batch: str, run_id: str) -> None:
        """Refuse a file that is there, unless an earlier run has begun the batch: it is its own.

        Args:
            batch: Its id, which begins with that of the run that began it.
            run_id: Of this run.

        Raises:
            CommandError: There is one.
        """
        if self._path is not None and batch.startswith(run_id) and os.path.lexists(self._path):
            raise CommandError(
                f"{self._path} is there already",
                why="it holds rows that another batch has left out",
                try_="choose another name with --rejects",
                code="file-exists",
            )

    def write(self, failed: list[tuple[Any, CommandError]]) -> None:
        """Put rows that failed into the file.

        Raises:
            DataError: It can't be written.
        """
        if self._path is None or not failed:
            return
        try:
            self._file = self._file or open(  # noqa: SIM115 - `close` does
                self._path, "a", encoding="utf-8", opener=private
            )
            for key, error in failed:
                what = {"key": json.loads(encode(key)), "code": error.code, "error": error.message}
                self._file.write(json.dumps(what, ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise DataError(
                f"{str(self._path)!r} can't be written: {exc.strerror}",
                why="the rows that failed would be lost; their batch was rolled back",
                try_="make room or name another file with --rejects, and run it again",
                code="rejects-file",
            ) from exc

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def rejects_warning(count: int) -> str:
    """Return the warning that rows were left out."""
    return f"left out {counted(count, 'row')}: see --rejects"


def row_error(exc: Exception) -> CommandError | None:
    """Return what is wrong with a row, or None where the row is not what is wrong."""
    error = translate_error(exc)
    if isinstance(exc, CommandError):
        return (
            exc if isinstance(exc, DataError) or exc.exit_code == CommandError.exit_code else None
        )
    return error if error is not None and error.code in _ROW_ERRORS else None
