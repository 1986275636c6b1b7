"""Copy and check SQLite files with SQLite's own backup interface.

It copies a consistent state while other processes use the file. When it replaces the content of a
file, it does so in one transaction: other processes see the old content or the new one, and after a
crash SQLite rolls it back. Replacing the file itself would leave them on the old file, and could
combine the new file with the journal of the old one.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from time import monotonic

from oneoff.core.errors import TemporaryError
from oneoff.services.backups.manifest import bad_backup
from oneoff.utils.concurrency import in_daemon_thread

_BUSY_SECONDS = 10.0  # to wait for another process; after a signal the process has 20
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


async def copy_file(source: str, target: str, *, alone: bool = False) -> None:
    """Replace the content of one SQLite file with that of another one.

    Args:
        source: The file to read. It is not changed.
        target: The file to write, new or old.
        alone: Whether the target must not need a second file beside it, as WAL does.

    Raises:
        TemporaryError: Another process has locked one of the files.
        DataError: The source is not a SQLite file.
    """
    await in_daemon_thread(lambda: _copy(source, target, alone=alone))


async def check_file(path: str) -> None:
    """Check the structure of a SQLite file.

    Raises:
        DataError: It is damaged.
    """
    problem = await in_daemon_thread(lambda: _problem_of(path))
    if problem:
        raise bad_backup(f"{path} is damaged", problem)


def _copy(source: str, target: str, *, alone: bool) -> None:
    deadline = monotonic() + _BUSY_SECONDS

    def progress(status: int, _left: int, _total: int) -> None:
        # The interface tries again without end while the file is locked.
        if status in _BUSY and monotonic() > deadline:
            raise _in_use(source, target)

    try:
        with (
            closing(sqlite3.connect(_to_read(source), uri=True)) as read,
            closing(sqlite3.connect(target)) as written,
        ):
            read.backup(written, progress=progress)
            if alone:
                written.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF in _BUSY:
            raise _in_use(source, target) from exc
        raise
    except sqlite3.DatabaseError as exc:
        raise bad_backup(f"{source} can't be copied", str(exc)) from exc


def _problem_of(path: str) -> str:
    try:
        with closing(sqlite3.connect(_to_read(path), uri=True)) as connection:
            (answer,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as exc:
        return str(exc)
    return "" if answer == "ok" else str(answer)


def _to_read(path: str) -> str:
    return f"{Path(path).resolve().as_uri()}?mode=ro"


def _in_use(source: str, target: str) -> TemporaryError:
    return TemporaryError(
        f"{source} can't be copied to {target}: the database is locked",
        why=f"another process did not end its transaction within {_BUSY_SECONDS:g} s",
        try_="run the command again",
        code="database-in-use",
    )
