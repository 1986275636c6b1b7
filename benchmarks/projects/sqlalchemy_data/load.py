"""Load a table from a csv file, in batches: load.py core|sqlite URL FILE."""

import asyncio
import csv
import sqlite3
import sys
from datetime import datetime
from itertools import islice

from sqlalchemy import Boolean, DateTime, Integer, String, column, insert, table
from sqlalchemy.ext.asyncio import create_async_engine

BATCH = 5_000
KINDS = {"id": Integer(), "active": Boolean(), "created_at": DateTime(timezone=True)}
NAMES = ("id", "username", "email", "role", "active", "created_at")
USERS = table("users", *(column(name, KINDS.get(name, String())) for name in NAMES))


def batches(rows):
    while batch := list(islice(rows, BATCH)):
        yield batch


def values(row):
    return {
        **row,
        "id": int(row["id"]),
        "active": row["active"] == "t",
        "created_at": datetime.fromisoformat(row["created_at"]),
    }


async def load(url, file):
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for batch in batches(csv.DictReader(file)):
            await connection.execute(insert(USERS), [values(row) for row in batch])
    await engine.dispose()


def load_sqlite(path, file):
    rows = csv.reader(file)
    names = next(rows)
    marks = ", ".join("?" * len(names))
    with sqlite3.connect(path) as connection:
        statement = f"INSERT INTO users ({', '.join(names)}) VALUES ({marks})"
        for batch in batches(rows):
            connection.executemany(statement, batch)
    connection.close()


kind, url, path = sys.argv[1:]
with open(path, newline="") as file:
    if kind == "sqlite":
        load_sqlite(url, file)
    else:
        asyncio.run(load(url, file))
