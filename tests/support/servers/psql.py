"""psql: for one text of statements, or open for many statements one after the other."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.servers.process import HOST, ServerError, clean_environ

USER = "oneoff"
# '@' and '%' break whoever forgets to decode a URL, or passes one through an ini file.
PASSWORD = "p@ss%word"  # noqa: S105 - of a server that only this run can reach
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
    """Say whether a statement can be run yet."""
    try:
        return query(psql, port, "SELECT 1", "postgres") == "1"
    except ServerError:
        return False


class OpenPsql:
    """A psql that stays connected: starting one costs more than making a database.

    Args:
        psql: The program.
        port: Of the server.
    """

    def __init__(self, psql: Path, port: int) -> None:
        self._psql, self._port = psql, port
        self._process: subprocess.Popen[str] | None = None

    def run(self, sql: str) -> None:
        """Run one statement; on a new connection where the old one is gone.

        Raises:
            ServerError: The statement failed.
        """
        if not self._answered(sql):
            # It ended: at an error of the statement, which is raised now, or with its connection.
            self.close()
            query(self._psql, self._port, sql, "postgres")

    def close(self) -> None:
        """End it; the next statement starts another."""
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
                start_new_session=True,  # Ctrl-C is for the test run, which still needs it
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
