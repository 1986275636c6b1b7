"""Copy and check SQLite files with SQLite's own backup interface.

It copies a consistent state while other processes use the file. When it replaces the content of a
file, it does so in one transaction: other processes see the old content or the new one, and after a
crash SQLite rolls it back. Replacing the file itself would leave them on the old file, and could
combine the new file with the journal of the old one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from time import monotonic

from oneoff.core.errors import TemporaryError
from oneoff.services.backups.manifest import bad_backup
from oneoff.utils.concurrency import in_daemon_thread, undivided

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


@asynccontextmanager
async def locked_file(path: str) -> AsyncIterator[LockedFile]:
    """Lock a SQLite file until the end of the block.

    Raises:
        TemporaryError: Another process has locked it.
    """
    file = LockedFile(path)
    try:
        await _in_thread(file.lock)
        yield file
    finally:
        file.close()


class LockedFile:
    """A SQLite file that only this object can write: so a copy of it has all that was committed.

    With WAL, nobody can lock out those who have the file open. They can read it, and the lock is
    released for a moment before the content is replaced: see `_check_unchanged`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._stack = ExitStack()
        self._connection, self._reader = (
            self._stack.enter_context(_connect(path)) for _ in range(2)
        )
        self._version: object = None  # of the content, if others can still write it

    def lock(self) -> None:
        """Wait for the lock."""
        with _file_errors(self._path, self._path):
            if self._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                self._connection.execute("BEGIN IMMEDIATE")
                self._version = self._read_version()
                return
            self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._connection.execute("BEGIN EXCLUSIVE")
            self._connection.execute("COMMIT")  # the lock is kept until the connection is closed

    async def copy_to(self, target: str) -> None:
        """Copy the content into another file, which needs no second file beside it."""
        source = self._connection if self._version is None else self._reader
        await _in_thread(lambda: _copy_from(source, self._path, target, alone=True))

    async def replace_by(self, source: str) -> None:
        """Replace the content by that of another file.

        Raises:
            TemporaryError: Another process has written meanwhile, and nothing was replaced.
        """
        await _in_thread(lambda: self._replace_by(source))

    def close(self) -> None:
        """Release the lock."""
        self._stack.close()

    def _replace_by(self, source: str) -> None:
        stop = _stop_if_busy(source, self._path)

        def progress(status: int, left: int, total: int) -> None:
            stop(status, left, total)
            if left:
                self._check_unchanged(source)

        with _file_errors(source, self._path), _connect(_to_read(source)) as read:
            if self._version is not None:
                self._connection.execute("ROLLBACK")
            # The first page takes the lock that is kept until the last one, so that it shows
            # whether the content is still the same.
            read.backup(self._connection, pages=1, progress=progress)

    def _check_unchanged(self, source: str) -> None:
        if self._version is not None and self._version != self._read_version():
            raise _in_use(source, self._path, "another process has written to it just now")

    def _read_version(self) -> object:
        return self._reader.execute("PRAGMA data_version").fetchone()


def _copy(source: str, target: str, *, alone: bool) -> None:
    with _connect(_to_read(source)) as read:
        _copy_from(read, source, target, alone=alone)


def _copy_from(read: sqlite3.Connection, source: str, target: str, *, alone: bool) -> None:
    with _file_errors(source, target), _connect(target) as written:
        read.backup(written, progress=_stop_if_busy(source, target))
        if alone:
            written.execute("PRAGMA journal_mode=DELETE")


def _stop_if_busy(source: str, target: str) -> Callable[[int, int, int], None]:
    """Return a function that ends a backup, which would try again without end."""
    deadline = monotonic() + _BUSY_SECONDS

    def progress(status: int, _left: int, _total: int) -> None:
        if status in _BUSY and monotonic() > deadline:
            raise _in_use(source, target)

    return progress


@contextmanager
def _file_errors(source: str, target: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF in _BUSY:
            raise _in_use(source, target) from exc
        raise
    except sqlite3.DatabaseError as exc:
        raise bad_backup(f"{source} can't be copied", str(exc)) from exc


def _connect(path: str) -> closing[sqlite3.Connection]:
    """Connect to a file, given as a path or a URI; BEGIN is left to the caller."""
    return closing(
        sqlite3.connect(
            path,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            uri=path.startswith("file:"),
        )
    )


async def _in_thread(work: Callable[[], None]) -> None:
    """Run work in a thread and wait for it, so that nobody closes what it still uses."""

    async def keep(_: None) -> None:
        """Undo nothing: what was locked is closed, and a file without a name is removed."""

    await undivided(in_daemon_thread(work), keep)


def _problem_of(path: str) -> str:
    try:
        with _connect(_to_read(path)) as connection:
            (answer,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as exc:
        return str(exc)
    return "" if answer == "ok" else str(answer)


def _to_read(path: str) -> str:
    return f"{Path(path).resolve().as_uri()}?mode=ro"


def _in_use(source: str, target: str, why: str = "") -> TemporaryError:
    return TemporaryError(
        f"{source} can't be copied to {target}: the database is in use",
        why=why or f"another process did not end its transaction within {_BUSY_SECONDS:g} s",
        try_="run the command again",
        code="database-in-use",
    )
