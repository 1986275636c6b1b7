"""A signal ends `db shell -c`, its client, and the statement on the server."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import Start
from tests.acceptance.test_signals import PROJECT, STOPPED, ended, migrated
from tests.support.database import query
from tests.support.terminal import Person

__all__ = ["migrated"]

ENDLESS = {
    "postgres": "INSERT INTO item (name) VALUES ('lost'); SELECT pg_sleep(600)",
    "sqlite": "BEGIN; INSERT INTO item (name) VALUES ('lost'); "
    "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c",
}
SLEEPING = """
SELECT count(*) FROM pg_stat_activity
WHERE state = 'active' AND query LIKE '%sleep(600)%' AND pid <> pg_backend_pid()
"""


def children(pid: int) -> str:
    """Return the ids of the processes that this process has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for something that other processes do."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_at_work(url: str, pid: int) -> bool:
    """Return whether the client has sent its statement, or at least started."""
    if url.startswith("sqlite"):
        return bool(children(pid))
    return [(1,)] == query(url, SLEEPING)


@pytest.mark.parametrize("signum", STOPPED)
@pytest.mark.parametrize("options", [[], ["--write"]], ids=["", "write"])
def test_a_signal_stops_the_statement_and_fails_the_run(
    start: Start, migrated: str, signum: signal.Signals, options: list[str]
) -> None:
    """Also if only this process gets it, as from a supervisor or `kill`."""
    sql = ENDLESS[migrated.partition(":")[0]]
    process = start(["db", "shell", "-c", sql, *options], cwd=PROJECT)
    wait_until(lambda: is_at_work(migrated, process.pid))
    client = int(children(process.pid).split()[0])

    process.send_signal(signum)
    code, _ = ended(process)

    assert STOPPED[signum] == code
    assert not Path(f"/proc/{client}").exists()
    if migrated.startswith("postgres"):
        assert [(0,)] == query(migrated, SLEEPING)
    assert [(0,)] == query(migrated, "SELECT count(*) FROM item")
    runs = "SELECT status, exit_code FROM oneoff_runs WHERE command = 'db shell'"
    assert [("interrupted", STOPPED[signum])] == query(migrated, runs)


def test_ctrl_c_at_the_prompt_of_psql_is_for_psql(environ: dict[str, str], migrated: str) -> None:
    """It cancels the statement, and the session goes on."""
    if migrated.startswith("sqlite"):
        pytest.skip("sqlite3 ends at its second Ctrl-C")
    person = Person(["db", "shell"], cwd=PROJECT, env=environ)
    person.sees("=#")
    person.types("SELECT pg_sleep(600);\n")
    wait_until(lambda: [(1,)] == query(migrated, SLEEPING))

    person.types("\x03")
    person.sees("canceling statement")
    person.types("\\q\n")

    assert 0 == person.leaves(), person.screen
