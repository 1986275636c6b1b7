"""Helpers for the tests of `data import`."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from oneoff.testing import Finished, Manage
from tests.support.database import open_sqlite, query

HEADER = "id,name,description,active,created_at"
WHEN = "2026-01-31 09:30:00+00"


def account(number: int, name: str, *, active: str = "t", when: str = WHEN) -> str:
    """Return a line of csv for the table of service accounts."""
    return f"{number},{name},,{active},{when}".replace(",,", ',"",')


def write_csv(path: Path, *lines: str, header: str = HEADER) -> Path:
    """Write a file of lines below a header."""
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def bytes_of(path: Path) -> bytes:
    """Read a file."""
    return path.read_bytes()


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder."""
    return sorted(folder.iterdir())


def names(manage: Manage) -> list[str]:
    """Return the names of the service accounts, in the order of their numbers."""
    found = query(manage.environ["DATABASE_URL"], "SELECT name FROM service_accounts ORDER BY id")
    return [str(name) for (name,) in found]


async def load(manage: Manage, path: Path | str, *words: str, stdin: str = "") -> Finished:
    """Import a file into the table of service accounts."""
    line = ["data", "import", "service_accounts", str(path), "--confirm", *words]
    return await manage(line, stdin=stdin)


def on_postgres(manage: Manage) -> bool:
    """Return whether the test runs on PostgreSQL."""
    return "postgres" in manage.environ["DATABASE_URL"]


async def execute(manage: Manage, statements: str) -> None:
    """Run statements on the database of the test."""
    url = manage.environ["DATABASE_URL"]
    if not on_postgres(manage):
        with open_sqlite(url) as connection:
            connection.executescript(statements)
        return
    driver = await asyncpg.connect(url)
    await driver.execute(statements)
    await driver.close()
