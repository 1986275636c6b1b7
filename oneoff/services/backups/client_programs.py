"""Find and run pg_dump, pg_restore and psql in a version that fits the server."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from signal import Signals
from typing import IO, TYPE_CHECKING, NamedTuple

from oneoff.core.errors import CommandError, ConfigurationError
from oneoff.database.asyncpg_adapter import leads_through_pooler
from oneoff.services.shell.database_client import end_child

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.config.database_url import DatabaseURL

DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian and Ubuntu install each version, in `<version>/bin`."""
_SERVER = "SELECT current_setting('server_version_num')::int"
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_SHOWN = 5  # lines of a program's messages in an error


class Program(NamedTuple):
    """A client program of PostgreSQL.

    Attributes:
        path: Its executable.
        version: Its major version.
    """

    path: str
    version: int


class Child:
    """A running client program.

    Attributes:
        process: The process, with the streams that were asked for.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.process, self._name = process, name
        assert process.stderr is not None  # noqa: S101 - see `start`
        # Read from the start, because a program waits while the pipe of its messages is full.
        self._messages = asyncio.ensure_future(process.stderr.read())

    async def wait(self) -> None:
        """Wait until the program has ended.

        Raises:
            CommandError: It failed. The reason is its last messages.
        """
        messages = (await self._messages).decode(errors="replace").strip().splitlines()
        code = await self.process.wait()
        if not code:
            return
        # Other lines may contain values of rows.
        messages = [line for line in messages if "error" in line.lower()] or messages
        how = f"was ended by {Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
        raise CommandError(
            f"{self._name} {how}", why="; ".join(messages[-_SHOWN:]), code="client-failed"
        )


async def server_version(connection: AsyncConnection, url: DatabaseURL) -> int:
    """Return the version of a PostgreSQL server: 150018 for 15.18.

    Raises:
        ConfigurationError: The connection leads through a pooler. The programs change settings of
            their session, which other clients of the pooler would get.
    """
    if await leads_through_pooler(connection):
        raise ConfigurationError(
            f"{url.safe()} leads through a connection pooler, with which pg_dump can't work",
            why="it changes settings of its session, which other clients would get",
            try_="set MIGRATION_DATABASE_URL to a URL that connects to the database directly",
            code="pooler-without-direct-url",
        )
    return int((await connection.exec_driver_sql(_SERVER)).scalar_one())


async def find_program(name: str, at_least: int, environ: Mapping[str, str]) -> Program:
    """Return the oldest installed version of a program that is not older than the server.

    A program reads older servers, but a much newer one may send settings that the server does not
    know.

    Args:
        name: "pg_dump", "pg_restore" or "psql".
        at_least: The major version of the server.
        environ: The variables of this process; the program is searched for in PATH, and among the
            packages of Debian.

    Raises:
        ConfigurationError: It is not installed, or only in older versions.
    """
    found = [Program(path, await _version_of(path, environ)) for path in _installed(name, environ)]
    install = f"apt-get install postgresql-client-{at_least}, or brew install postgresql@{at_least}"
    if not found:
        raise ConfigurationError(
            f"{name} is not installed, or not on PATH", try_=install, code="client-not-found"
        )
    fitting = [program for program in found if program.version >= at_least]
    if not fitting:
        newest = max(program.version for program in found)
        raise ConfigurationError(
            f"{name} {newest} is older than the server, which is PostgreSQL {at_least}",
            why="an older program can't read all objects of a newer server",
            try_=install,
            code="client-too-old",
        )
    return min(fitting, key=lambda program: program.version)


def _installed(name: str, environ: Mapping[str, str]) -> list[str]:
    on_path = shutil.which(name, path=environ.get("PATH"))
    return [*([on_path] if on_path else []), *map(str, sorted(DEBIAN.glob(f"*/bin/{name}")))]


async def run_program(
    program: Program,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    stdout: int | IO[bytes] = asyncio.subprocess.DEVNULL,
) -> None:
    """Run a program until it ends.

    Raises:
        CommandError: It failed.
    """
    async with start(program, arguments, environ, stdout=stdout) as child:
        await child.wait()


async def output_of(program: Program, arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """Run a program and return what it writes to standard output.

    Raises:
        CommandError: It failed.
    """
    async with start(program, arguments, environ, stdout=asyncio.subprocess.PIPE) as child:
        assert child.process.stdout is not None  # noqa: S101 - it is a pipe
        text = (await child.process.stdout.read()).decode(errors="surrogateescape")
        await child.wait()
    return text


@asynccontextmanager
async def start(
    program: Program,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    stdin: int = asyncio.subprocess.DEVNULL,
    stdout: int | IO[bytes] = asyncio.subprocess.DEVNULL,
) -> AsyncIterator[Child]:
    """Start a program. It is ended when the block ends, also if the run is cancelled."""
    process = await asyncio.create_subprocess_exec(
        program.path,
        *arguments,
        env=environ,
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Child(Path(program.path).name, process)
    finally:
        await end_child(process)


async def _version_of(path: str, environ: Mapping[str, str]) -> int:
    """Return the major version of a program; 0 if it does not say so."""
    found = None
    with suppress(CommandError):
        found = _VERSION.search(await output_of(Program(path, 0), ["--version"], environ))
    return int(found[1]) if found else 0
