"""Stream a table to a file, as SQLAlchemy's documentation shows it: export.py csv|jsonl URL FILE."""

import asyncio
import csv
import json
import sys

from sqlalchemy import Boolean, DateTime, column, create_engine, select, table
from sqlalchemy.ext.asyncio import create_async_engine

NAMES = ("id", "username", "email", "role", "active", "created_at")
KINDS = {"active": Boolean(), "created_at": DateTime(timezone=True)}
USERS = table("users", *(column(name, KINDS.get(name)) for name in NAMES))
QUERY = select(USERS).order_by(USERS.c.id)


def writer_of(kind, file):
    if kind == "csv":
        rows = csv.writer(file)
        rows.writerow(NAMES)
        return rows.writerows

    def write(part):
        file.writelines(json.dumps(dict(row._mapping), default=str) + "\n" for row in part)

    return write


async def export(url, write):
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        result = await connection.stream(QUERY)
        async for part in result.partitions(2000):
            write(part)
    await engine.dispose()


def export_sync(url, write):
    with create_engine(url).connect() as connection:
        result = connection.execution_options(stream_results=True).execute(QUERY)
        for part in result.partitions(2000):
            write(part)


kind, url, path = sys.argv[1:]
with open(path, "w", newline="") as file:
    if url.startswith("sqlite"):
        export_sync(url, writer_of(kind, file))
    else:
        asyncio.run(export(url, writer_of(kind, file)))
