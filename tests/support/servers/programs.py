"""Find the programs of the servers on PATH or in the folders that packages use."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

# Debian and Red Hat install the server's programs outside of PATH; Homebrew does for old versions.
POSTGRES_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
# Folders that may be missing in PATH: Debian installs pgbouncer in /usr/sbin, which only root has.
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin")
PACKAGES = {
    "initdb": "postgresql",
    "redis-server": "redis-server",
    "pgbouncer": "pgbouncer",
    "openssl": "openssl",
    "kubectl": "kubernetes-client",
}


class ProgramMissingError(RuntimeError):
    """A server's program is not installed; the message names the package."""

    def __init__(self, program: str) -> None:
        super().__init__(
            f"{program} was not found on PATH, nor where packages put it; install the programs "
            f"that the tests run: apt-get install {' '.join(PACKAGES.values())} "
            "(macOS: brew install postgresql redis pgbouncer openssl kubernetes-cli)"
        )


def find_program(name: str) -> Path:
    """Return the file of a program.

    Raises:
        ProgramMissingError: It is not installed.
    """
    folders = [os.environ.get("PATH", os.defpath), *_postgres_folders(), *SYSTEM_FOLDERS]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise ProgramMissingError(name)
    return Path(found)


def missing_packages() -> list[str]:
    """Return the Debian packages of the programs that were not found."""
    return [package for program, package in PACKAGES.items() if not _is_installed(program)]


def _is_installed(program: str) -> bool:
    try:
        find_program(program)
    except ProgramMissingError:
        return False
    return True


def _postgres_folders() -> Iterator[str]:
    """Yield the folders of installed PostgreSQL servers, newest version first."""
    for pattern in POSTGRES_FOLDERS:
        folders = Path("/").glob(pattern.removeprefix("/"))
        yield from map(str, sorted(folders, key=_version, reverse=True))


def _version(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.parent.name)]
