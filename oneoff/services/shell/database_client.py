"""Run psql or sqlite3 as a child process on this terminal."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import NamedTuple

from oneoff.config.database_url import DatabaseURL
from oneoff.core.errors import CommandError, ConfigurationError
from oneoff.runtime import signals
from oneoff.utils.concurrency import uninterrupted

_STOP_SECONDS = 3.0  # for each of three signals; after a signal the process has 20
_BUSY_MS = 10_000  # milliseconds that sqlite3 waits for a lock
_READ_ONLY = "-c default_transaction_read_only=on"
# libpq reads these, and asyncpg does not, or in another order. PGSERVICE even wins over PGHOST.
_LEAD_ELSEWHERE = frozenset(
    "PGSERVICE PGSERVICEFILE PGSYSCONFDIR PGHOSTADDR PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS "
    "PGOPTIONS PGREPLICATION".split()
)
_INSTALL = {
    "psql": "apt-get install postgresql-client, or brew install libpq",
    "sqlite3": "apt-get install sqlite3, or brew install sqlite",
}


class Client(NamedTuple):
    """How to start psql or sqlite3.

    Attributes:
        url: The URL of the database.
        read_only: Whether transactions are read-only by default.
        sql: The statements to run; empty to read them from standard input.
        interactive: Whether a user types the statements.
    """

    url: DatabaseURL
    read_only: bool = False
    sql: str = ""
    interactive: bool = False

    @property
    def program(self) -> str:
        """The name of the executable."""
        return "psql" if self.url.dialect == "postgresql" else "sqlite3"

    def arguments(self) -> list[str]:
        """Return the arguments. Other users can see them, so they contain no password."""
        return self._psql() if self.program == "psql" else self._sqlite3()

    def environ(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the client.

        Args:
            inherited: The variables of this process. Those that could lead psql to another server
                than the one that the run was checked for, or change the session, are left out.
        """
        if self.program != "psql":
            return dict(inherited)
        environ = libpq_environ(self.url, inherited)
        if self.read_only:
            environ["PGOPTIONS"] = f"{environ.get('PGOPTIONS', '')} {_READ_ONLY}".strip()
        return environ

    def _psql(self) -> list[str]:
        arguments = ["--command", self.sql] if self.sql else []
        if not self.interactive:
            # A script must not depend on the user's psqlrc, and must stop at the first error.
            arguments = ["--no-psqlrc", "--set=ON_ERROR_STOP=1", "--no-password", *arguments]
        return arguments

    def _sqlite3(self) -> list[str]:
        # SQLite does not check foreign keys unless each connection asks for it.
        arguments = ["-cmd", f".timeout {_BUSY_MS}", "-cmd", "PRAGMA foreign_keys=ON"]
        if self.read_only:
            arguments.append("-readonly")
        if not self.interactive:
            # -bail stops at the first error.
            arguments += ["-batch", "-bail"]
        return [*arguments, self.url.database, *([self.sql] if self.sql else [])]


def libpq_environ(url: DatabaseURL, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with which a client of PostgreSQL connects to this database.

    Args:
        url: The database. Its password is in the result, because other users can see arguments.
        inherited: The variables of this process. Those that could lead the client to another server
            are left out.
    """
    environ = {name: text for name, text in inherited.items() if name not in _LEAD_ELSEWHERE}
    return environ | url.libpq_environ()


async def run_client(client: Client, environ: Mapping[str, str]) -> None:
    """Run the client on this terminal until it ends.

    Args:
        client: The client to start.
        environ: The variables of this process. The client is searched for in PATH.

    Raises:
        ConfigurationError: The client is not installed, or its sessions can't be made read-only.
        CommandError: The client ended with an exit code other than 0.
    """
    program = shutil.which(client.program, path=environ.get("PATH"))
    if program is None:
        raise ConfigurationError(
            f"{client.program} is not installed, or not on PATH",
            try_=_INSTALL[client.program],
            code="client-not-found",
        )
    if client.read_only and client.program == "psql":
        await _check_read_only(client, program, environ)
    # A user's Ctrl-C is for the client, which cancels the statement and goes on. Without a user
    # it ends the run, as every signal does.
    with _interrupts_left_to_child() if client.interactive else nullcontext():
        code = await _run(program, client.arguments(), client.environ(environ))
    if signum := signals.received():
        raise signals.SignalReceived(signum)  # Ctrl-C at a terminal may end the client first
    if code:
        raise CommandError(f"{client.program} ended with exit code {code}", code="client-failed")


async def _run(program: str, arguments: list[str], environ: dict[str, str]) -> int:
    child = await asyncio.create_subprocess_exec(program, *arguments, env=environ)
    try:
        return await child.wait()
    finally:
        await end_child(child)


async def end_child(child: asyncio.subprocess.Process) -> None:
    """End a client that is still running; do nothing if it has ended."""
    if child.returncode is None:  # the run was cancelled while the client was running
        await uninterrupted(_stop(child))


async def _stop(child: asyncio.subprocess.Process) -> None:
    """End a client: SIGINT cancels its statement on the server, which SIGTERM leaves running."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            child.send_signal(signum)
        with suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), _STOP_SECONDS)
            return


async def _check_read_only(client: Client, program: str, environ: Mapping[str, str]) -> None:
    """Check that the server got the read-only option, because a pooler may drop it."""
    child = await asyncio.create_subprocess_exec(
        program,
        "--no-psqlrc",
        "--no-password",
        "--tuples-only",
        "--no-align",
        "--command=SHOW transaction_read_only",
        env=client.environ(environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        answer, complaint = await child.communicate()
    finally:
        await end_child(child)
    if answer.strip() == b"on":
        return
    text = complaint.decode(errors="replace").strip()
    raise ConfigurationError(
        f"{client.url.safe()} can't be opened read-only",
        why=text or "the server did not get the read-only option; a pooler drops it",
        try_=(
            "set MIGRATION_DATABASE_URL to a URL that connects to the database directly",
            "python manage.py db shell --write",
        ),
        code="not-read-only",
    )


@contextmanager
def _interrupts_left_to_child() -> Iterator[None]:
    """Ignore Ctrl-C in this process. The client gets it too, and cancels its statement."""
    # The handler is a function because the child would inherit SIG_IGN.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
