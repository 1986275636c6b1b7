"""Create the file that an export writes until it is complete, and remove those of killed runs.

The file is beside its target, and locked while its run writes it. The system releases the lock when
the process ends, so a file without a lock was left by a run that was killed.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import NamedTuple

from oneoff.utils.files import open_private

_NAME = re.compile(r"[0-9a-f]+\.partial")
_ONLY_LOOK = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class PartialFile(NamedTuple):
    """A new, locked file beside its target.

    Attributes:
        path: Its path.
        descriptor: Its open descriptor. Closing it releases the lock.
        removed: The names of the files that killed runs had left for the same target.
    """

    path: str
    descriptor: int
    removed: tuple[str, ...]


def create_partial(target: str) -> PartialFile:
    """Create a file that only its owner can read.

    Its name is new: in a container every process may have the same number.

    Raises:
        OSError: It can't be created.
    """
    folder, name = os.path.split(target)
    removed = tuple(_remove_left(folder, name))
    while True:
        path = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.partial")
        descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        # Some network file systems have no locks. There, files of killed runs are kept.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_named(descriptor, path):
            return PartialFile(path, descriptor, removed)
        os.close(descriptor)  # another run removed it before it was locked


def _remove_left(folder: str, name: str) -> Iterator[str]:
    """Remove the files of runs that have ended, and yield their names."""
    start = f".{name}."
    with closing(os.scandir(folder)) as entries:
        found = [entry.name for entry in entries if entry.name.startswith(start)]
    for partial in sorted(found):
        if _NAME.fullmatch(partial.removeprefix(start)):
            # Another user's file, or one that another run has just removed, is left alone.
            with suppress(OSError):
                if _remove_unlocked(os.path.join(folder, partial)):
                    yield partial


def _remove_unlocked(path: str) -> bool:
    descriptor = os.open(path, _ONLY_LOOK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(descriptor)
    return True


def _is_named(descriptor: int, path: str) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False
