"""Open files that only their owner can read, and explain errors of the file system."""

from __future__ import annotations

import errno
import os

_ADVICE = {
    errno.EACCES: "give the user that runs the command permission",
    errno.EPERM: "give the user that runs the command permission",
    errno.EROFS: "choose a path on a file system that can be written",
    errno.ENOSPC: "free disk space",
    errno.EDQUOT: "free disk space",
    errno.ENOENT: "create the folder, or correct the path",
    errno.EISDIR: "give the path of a file, not of a folder",
    errno.ENOTDIR: "correct the path: a part of it is a file, not a folder",
}


def open_private(path: str, flags: int) -> int:
    """Open a file, as `opener` of `open()`; a new one can be read by its owner alone."""
    return os.open(path, flags, 0o600)


def file_problem(exc: OSError) -> str:
    """Return what is wrong with which file, or an empty text if the error is not about a file."""
    path = exc.filename2 or exc.filename
    if path is None or isinstance(path, int) or not exc.strerror:
        return ""
    name = os.fsdecode(path)
    return f"{name}: {exc.strerror[:1].lower()}{exc.strerror[1:]}"


def file_advice(exc: OSError) -> str:
    """Return what to do about an error of the file system."""
    return _ADVICE.get(exc.errno or 0, "correct the path")
