"""Helpers for tests of the guard of dry runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text, insert, select, text

from oneoff.core.outcome import RowCounts
from oneoff.core.policy import Mode
from oneoff.database.engine import Database
from oneoff.database.transaction import WorkTransaction, begin_work
from oneoff.runtime.other_connections import read_only_connections

WRITE = "INSERT INTO notes (text) VALUES ('left behind')"
METADATA = MetaData()
NOTES = Table("notes", METADATA, Column("id", Integer, primary_key=True), Column("text", Text))
REPLIES = Table(
    "replies",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("note_id", ForeignKey("notes.id", deferrable=True, initially="DEFERRED")),
)

Hostile = Callable[[WorkTransaction, Database], Awaitable[Any]]


async def saved(database: Database) -> list[str]:
    """Return the texts that another client finds."""
    async with database.connect("look") as connection:
        return list((await connection.execute(select(NOTES.c.text).order_by(NOTES.c.id))).scalars())


@asynccontextmanager
async def protected_work(database: Database, mode: Mode) -> AsyncIterator[WorkTransaction]:
    """Begin the transaction of a run and protect the other connections, as the executor does."""
    with read_only_connections(mode):
        async with begin_work(database, mode) as work:
            yield work


async def rehearse(
    database: Database, command: Hostile, *, swallow: bool = False
) -> dict[str, RowCounts]:
    """Run a command as the executor does for --dry-run."""
    async with protected_work(database, Mode.ROLLBACK) as work:
        await work.session.execute(insert(NOTES).values(text="from the session"))
        try:
            await command(work, database)
        except Exception:
            if not swallow:
                raise
        return await work.finish_dry_run()


def sql(*statements: str) -> Hostile:
    """Return a command that runs statements in its session."""

    async def command(work: WorkTransaction, _: Database) -> None:
        for statement in statements:
            await work.session.execute(text(statement))

    command.__name__ = "sql: " + "; ".join(statements)
    return command


def names(command: Hostile) -> str:
    """Return a readable id for a test."""
    return command.__name__


async def driver_of(work: WorkTransaction) -> Any:
    """Return the asyncpg or aiosqlite connection."""
    raw = await (await work.session.connection()).get_raw_connection()
    return raw.driver_connection
