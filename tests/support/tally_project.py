"""A small project for tests of batches; its table counts how often each row was done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from oneoff import Project
from oneoff.cli import main
from oneoff.services.retention.framework_rules import framework_rules
from tests.support.database import open_sqlite, query

if TYPE_CHECKING:
    from oneoff.testing import Finished

ROOT = Path(__file__).parents[2]
NAME = f"{__name__}:project"
ROWS = 1_000
"""Number of rows that the fixture `url` creates."""
PATIENCE = 60
"""Seconds to wait for an event before the test fails, even on a busy machine."""
TABLE = """
CREATE TABLE tally (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, age INTEGER NOT NULL);
CREATE INDEX ix_tally_age ON tally (age);
"""
SERIES = {
    "sqlite": "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {rows}) "
    "SELECT x FROM c)",
    "postgres": "generate_series(1, {rows}) AS s(x)",
}

COMMANDS = ("tests.support.tally_commands",)

project = Project(
    "shop",
    commands=COMMANDS,
    outbox="tests.support.tally_effects:HANDLERS",
    retention="tests.support.tally_project:RULES",
    worker="tests.support.tally_worker:WorkerSettings",
)
RULES = framework_rules()
without_shards = Project("shop", commands=COMMANDS, worker="tests.support.tally_worker:Unwilling")


class Base(DeclarativeBase):
    """The tables of the project."""


class Tally(Base):
    """A row that counts how often it was done. Ten rows have the same age."""

    __tablename__ = "tally"

    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int]
    age: Mapped[int] = mapped_column(index=True)


def make_tally(url: str, rows: int) -> None:
    """Create the table with rows 1, 2, 3, ..., none of which is done."""
    series = SERIES[url.partition(":")[0]].format(rows=rows)
    script = f"{TABLE} INSERT INTO tally SELECT x, 0, x / 10 FROM {series};"
    execute(url, script)


def execute(url: str, script: str) -> None:
    """Run statements without the framework, and commit them."""
    if url.startswith("sqlite"):
        with open_sqlite(url) as connection:
            connection.executescript(script)
        return
    # In a thread, because the event loop of an async test is already running.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, _execute(url, script)).result()


def times_done(url: str) -> dict[int, int]:
    """Return the number of rows by how often they were done; {1: 5000} is correct."""
    return dict(query(url, "SELECT n, count(*) FROM tally GROUP BY n ORDER BY n"))


def rows_of_runs(url: str, command: str = "tally add") -> list[int | None]:
    """Return the recorded rows of each run of a command, in order, without dry runs."""
    sql = (
        "SELECT rows FROM oneoff_runs WHERE command = '{}' AND NOT dry_run ORDER BY started_at, id"
    )
    return [row[0] for row in query(url, sql.format(command))]


async def until(url: str, sql: str) -> None:
    """Wait until the first value of a query is true."""
    async with asyncio.timeout(PATIENCE):
        # In a thread, because this event loop may have to do the work that is waited for.
        while not (await asyncio.to_thread(query, url, sql))[0][0]:  # noqa: ASYNC110 - the database's state
            await asyncio.sleep(0.02)


def batch_of(finished: Finished) -> str:
    """Return the id of the batch that a run worked on."""
    return str(finished.result.data["batch"])


async def _execute(url: str, script: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command line of this project, as its `manage.py` would."""
    return main(NAME, argv)


if __name__ == "__main__":
    raise SystemExit(run())
