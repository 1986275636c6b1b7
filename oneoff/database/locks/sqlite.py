"""Lock one byte of the file `<database>.locks` with fcntl.

POSIX locks belong to the process. Two locks of the same process don't exclude each other. When the
process closes any descriptor of the file, it loses all its locks on the file. So a process opens
each lock file only once, in `lock_file`, and remembers the keys that it holds.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from oneoff.core.errors import ConfigurationError, LockLost
from oneoff.database.locks.base import Lock

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database

# struct flock: type, whence, start, length, pid on Linux; start, length, pid, type, whence on BSD.
_FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi"


class LockFile:
    """The descriptor of one lock file in this process, open while a key is held."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held: set[str] = set()
        self._descriptor = -1

    def try_lock(self, key: str) -> bool:
        """Lock the key's byte if it is free."""
        if key in self.held:
            return False
        self._open()
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset_of(key))
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: POSIX allows both
            self._close_if_idle()
            return False
        self.held.add(key)
        return True

    def unlock(self, key: str) -> None:
        """Unlock the key's byte, if this process holds it."""
        if key in self.held:
            self.held.remove(key)
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, offset_of(key))
            self._close_if_idle()

    def is_intact(self, key: str) -> bool:
        """Return whether the key is held in the file that other processes would open now.

        If the file was replaced, this process holds its lock on a file that no other process opens.
        """
        try:
            return key in self.held and os.path.samestat(
                os.fstat(self._descriptor), self.path.stat()
            )
        except FileNotFoundError:
            return False

    def held_by_others(self) -> dict[int, int]:
        """Return the bytes that other processes have locked, with the ids of these processes."""
        found: dict[int, int] = {}
        ranges = [(0, 0)] if self.path.exists() else []
        while ranges:
            start, length = ranges.pop()
            at, pid = self._ask(start, length)
            if not pid:
                continue
            found[at] = pid
            # F_GETLK returns any lock of the range, not always the first, so ask again on both
            # sides.
            if at > start:
                ranges.append((start, at - start))
            if length != at - start + 1:
                ranges.append((at + 1, length and length - (at - start + 1)))
        return found

    def _ask(self, start: int, length: int) -> tuple[int, int]:
        """Return a locked byte of a range and the id of the process that locked it; 0 if none did.

        Args:
            start: First byte.
            length: Number of bytes; 0 for all bytes that follow.
        """
        self._open()
        answer = fcntl.fcntl(self._descriptor, fcntl.F_GETLK, _pack(start, length))
        self._close_if_idle()
        kind, at, pid = _unpack(answer)
        return at, 0 if kind == fcntl.F_UNLCK else pid

    def _open(self) -> None:
        if self._descriptor >= 0:
            return
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as exc:
            raise ConfigurationError(
                f"the lock file {str(self.path)!r} can't be opened: {exc.strerror}",
                why="locks of a SQLite database are kept in a file next to it",
                try_="make the database's folder writable for the user that runs the command",
                code="lock-file",
            ) from exc

    def _close_if_idle(self) -> None:
        # Closing the descriptor would release all locks on the file.
        if not self.held:
            os.close(self._descriptor)
            self._descriptor = -1


_files: dict[Path, LockFile] = {}


class FileLock(Lock):
    """One key of a SQLite database."""

    def __init__(self, database: Database, key: str) -> None:
        super().__init__(database, key)
        self._holds = False
        self._file = lock_file(database)

    async def try_acquire(self) -> bool:
        """Lock the key's byte unless this or another process has locked it."""
        self._holds = self._file.try_lock(self.key)
        return self._holds

    async def check(self) -> None:
        """Check that the file was not replaced: then another process could take the lock too."""
        if not (self._holds and self._file.is_intact(self.key)):
            raise LockLost(
                f"the lock {self.key!r} was lost: {str(self._file.path)!r} was removed or replaced",
                why="another run may hold it now, so this run stopped before its next step",
                try_="run the command again, and don't remove the lock file",
            )

    async def release(self) -> None:
        """Unlock the byte."""
        if self._holds:
            self._holds = False
            self._file.unlock(self.key)

    async def hold_in(self, connection: AsyncConnection) -> None:
        """Lock the byte until the connection's next commit or rollback."""
        from sqlalchemy import event

        self._file.try_lock(self.key)

        def unlock(_connection: object) -> None:
            self._file.unlock(self.key)

        event.listen(connection.sync_connection, "commit", unlock)
        event.listen(connection.sync_connection, "rollback", unlock)

    async def is_free_in(self, connection: AsyncConnection) -> bool:
        """Try to lock the byte, and unlock it again."""
        if not self._file.try_lock(self.key):
            return False
        self._file.unlock(self.key)
        return True


def lock_file(database: Database) -> LockFile:
    """Return the one lock file of a database in this process.

    Raises:
        ConfigurationError: The database has several hard links, and so would have several lock
            files.
    """
    file = Path(database.url.database)
    links = file.stat().st_nlink if file.exists() else 1
    if links > 1:
        raise ConfigurationError(
            f"the SQLite file {file} has {links} names (hard links)",
            why="the journal and the lock files are named after the name that a process opens, so "
            "processes that open different names would not see each other's locks",
            try_=f"remove the other names: find / -samefile {shlex.quote(str(file))}",
            code="hard-links",
        )
    # Two paths to one file must share the descriptor.
    path = Path(f"{file}.locks").resolve()
    return _files.setdefault(path, LockFile(path))


def offset_of(key: str) -> int:
    """Return the offset of the byte that represents the key."""
    # Locking does not write the byte, so the file stays empty. The offset of a file is signed, so
    # it has fewer bits than the digest.
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2


def _pack(start: int, length: int) -> bytes:
    if sys.platform == "darwin":
        return struct.pack(_FLOCK, start, length, 0, fcntl.F_WRLCK, os.SEEK_SET)
    return struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)


def _unpack(answer: bytes) -> tuple[int, int, int]:
    """Return the kind, first byte and process id of a lock."""
    fields = struct.unpack(_FLOCK, answer)
    if sys.platform == "darwin":
        return fields[3], fields[0], fields[2]
    return fields[0], fields[2], fields[4]
