"""Look into a test's database past the framework."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import asyncpg


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of one statement on a `postgres://` or `sqlite:///` URL."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return connection.execute(sql).fetchall()
    # In a thread, because an async test has a running loop already.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _query(url, sql)).result()


async def _query(url: str, sql: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()
