"""Run psql for one text of statements, or keep it open for many."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.servers.process import HOST, ServerError, clean_environ

USER = "oneoff"
# '@' and '%' break code that forgets to decode a URL, or passes it through an ini file.
PASSWORD = "p@ss%word"  # noqa: S105 - of a server for this test run only
OPTIONS = ("-XAtq", "-v", "ON_ERROR_STOP=1")
DONE = "statement done"


def query(psql: Path, port: int, sql: str, database: str) -> str:
    """Run statements through psql on one of our servers.

    Raises:
        ServerError: A statement failed, or there was no connection.
    """
    done = subprocess.run(
        [psql, *OPTIONS],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
        env=_environ(port, database),
    )
    if done.returncode:
        raise ServerError(done.stderr.strip())
    return done.stdout.strip("\n")


def answers(psql: Path, port: int) -> bool:
    """Return whether the server runs statements."""
    try:
        return query(psql, port, "SELECT 1", "postgres") == "1"
    except ServerError:
        return False


class OpenPsql:
    """A psql that stays connected, because starting one costs more than creating a database.

    Args:
        psql: Path of the program.
        port: Port of the server.
    """

    def __init__(self, psql: Path, port: int) -> None:
        self._psql, self._port = psql, port
        self._process: subprocess.Popen[str] | None = None

    def run(self, sql: str) -> None:
        """Run one statement, on a new connection if the old one was lost.

        Raises:
            ServerError: The statement failed.
        """
        if not self._answered(sql):
            # psql has ended, because the statement failed or the connection was lost. Running the
            # statement again raises the error in the first case.
            self.close()
            query(self._psql, self._port, sql, "postgres")

    def close(self) -> None:
        """End psql; the next statement starts it again."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _answered(self, sql: str) -> bool:
        if self._process is None:
            self._process = subprocess.Popen(
                [self._psql, *OPTIONS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=_environ(self._port, "postgres"),
                start_new_session=True,  # Ctrl-C must not end psql: the test run needs it
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{sql};\n\\echo {DONE}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        return self._process.stdout.readline() == f"{DONE}\n"


def _environ(port: int, database: str) -> dict[str, str]:
    target = {"PGHOST": HOST, "PGPORT": str(port), "PGUSER": USER, "PGDATABASE": database}
    return dict(clean_environ(PGPASSWORD=PASSWORD, **target))
