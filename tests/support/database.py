"""Use a test's database without the framework."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import asyncpg

Found = TypeVar("Found")

TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
    "postgres": "SELECT table_name FROM information_schema.tables "
    "WHERE table_schema = 'public' ORDER BY table_name",
}
Rows = list[tuple[Any, ...]]


@contextmanager
def open_sqlite(url: str) -> Iterator[sqlite3.Connection]:
    """Open a `sqlite:///` URL, commit at the end of the block, and close the connection.

    A connection as a context manager commits, but stays open.
    """
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        yield connection


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of one statement on a `postgres://` or `sqlite:///` URL."""
    if url.startswith("sqlite"):
        with open_sqlite(url) as connection:
            return connection.execute(sql).fetchall()
    return _run(_query(url, sql))


def dump(url: str) -> dict[str, Rows]:
    """Return all rows of all tables, sorted so that two dumps can be compared."""
    if url.startswith("sqlite"):
        names = [str(name) for (name,) in query(url, TABLES["sqlite"])]
        rows = {name: query(url, f'SELECT * FROM "{name}"') for name in names}
    else:
        rows = _run(_dump(url))
    return {name: sorted(found, key=repr) for name, found in rows.items()}


def _run(work: Coroutine[Any, Any, Found]) -> Found:
    # In a thread, because the event loop of an async test is already running.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def _query(url: str, sql: str) -> Rows:
    connection = await asyncpg.connect(url)
    try:
        return await _fetch(connection, sql)
    finally:
        await connection.close()


async def _dump(url: str) -> dict[str, Rows]:
    connection = await asyncpg.connect(url)
    try:
        names = [str(name) for (name,) in await _fetch(connection, TABLES["postgres"])]
        return {name: await _fetch(connection, f'SELECT * FROM "{name}"') for name in names}
    finally:
        await connection.close()


async def _fetch(connection: Any, sql: str) -> Rows:
    return [tuple(row) for row in await connection.fetch(sql)]
