"""Find packages and files that look like commands but are not read as such, and say why."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec

from oneoff.runtime.registry.packages import SUFFIX, is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPILED = ".pyc"


def package_problem(package: str) -> tuple[str, str]:
    """Return why no folder was found for a package of commands."""
    try:
        spec = find_spec(package)
    except ImportError:  # its parent does not exist
        spec = None
    where = list(spec.submodule_search_locations or ()) if spec else []
    subject = f"the commands package {package!r}"
    if where:
        problem = f"is in {where[0]}, which is not a folder; unpack it, so that its files are found"
        return subject, problem
    return subject, "was not found"


def unread_files(folder: str, package: str) -> list[tuple[str, str]]:
    """Return the files and folders in a package that would be commands with another name.

    Names that start with an underscore or a dot are private, so they are left out.
    """
    return sorted(_unread(folder, package.replace(".", "/")))


def _unread(folder: str, shown: str) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as found:
        entries = [entry for entry in found if not entry.name.startswith(("_", "."))]
    names = {entry.name for entry in entries}
    for entry in entries:
        stem, suffix = os.path.splitext(entry.name)
        where = f"{shown}/{entry.name}"
        if suffix == SUFFIX and not is_name(stem):
            yield where, _wrong_name(stem, SUFFIX)
        elif suffix == _COMPILED and stem + SUFFIX not in names:
            yield where, "is not a command: commands are read from their source, so deploy it too"
        elif entry.is_dir() and not entry.is_symlink():
            if is_name(entry.name):
                yield from _unread(entry.path, where)
            elif any(name.endswith(SUFFIX) for name in os.listdir(entry.path)):
                yield where, _wrong_name(entry.name, "")


def _wrong_name(stem: str, suffix: str) -> str:
    better = re.sub(r"\W+", "_", stem).strip("_")
    problem = "is not read: its name must consist of letters, digits and _, and start with a letter"
    if not is_name(better):
        return problem
    return f"{problem}; {better}{suffix} would be {better.replace('_', '-')!r}"
