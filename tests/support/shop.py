"""A small project whose revisions each test writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Integer, MetaData, String, Table, select

from oneoff import Project, Seed
from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.testing import Manage

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

metadata = MetaData()
items = Table(
    "item",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, index=True),
)


async def _add(session: AsyncSession, name: str) -> int:
    found = await session.execute(select(items).where(items.c.name == name))
    if found.first():
        return 0
    await session.execute(items.insert().values(name=name))
    return 1


async def _add_sample(session: AsyncSession) -> int:
    return await _add(session, "sample")


async def _add_reference(session: AsyncSession) -> int:
    return await _add(session, "reference")


SEEDS = (
    Seed(name="samples", help="Invented items.", run=_add_sample),
    Seed(name="references", help="Items of every shop.", run=_add_reference, production=True),
)

project = Project(
    "shop",
    commands=(),
    migrations="migrations",
    metadata="tests.support.shop:metadata",
    seeds="tests.support.shop:SEEDS",
)

ENV = """\
from oneoff.services.migrations.env import run_env
from tests.support.shop import metadata

run_env(metadata)
"""

CREATE_ITEM = """\
op.create_table(
    "item",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
)
op.create_index("ix_item_name", "item", ["name"])
"""
FAIL = 'op.execute("SELECT nothing FROM nowhere")'
DROP_ITEM = 'op.drop_table("item")'
INSERT_ONE = """op.execute("INSERT INTO item (name) VALUES ('one')")"""
INSERT_OUTSIDE = f"""\
with op.get_context().autocommit_block():
    {INSERT_ONE}
"""


def revision(name: str, after: str | None, upgrade: str = "pass", downgrade: str = "pass") -> str:
    """Return the source of a revision file; `upgrade` begins at line 9."""

    def body(code: str) -> str:
        return "\n".join(f"    {line}" for line in code.rstrip().splitlines())

    return (
        f'"""Revision {name}."""\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
        f"revision = {name!r}\ndown_revision = {after!r}\n\n"
        f"def upgrade():\n{body(upgrade)}\n\n\ndef downgrade():\n{body(downgrade)}\n"
    )


class Shop:
    """The project in a separate folder, on one database.

    Args:
        root: An empty folder.
        url: An empty database.
    """

    def __init__(self, root: Path, url: str) -> None:
        self.root, self.url = root, url
        self.versions.mkdir(parents=True)
        (root / "migrations/env.py").write_text(ENV)
        self.manage = Manage(
            "tests.support.shop:project",
            str(root),
            {"DATABASE_URL": url, "ENVIRONMENT": "test", "LOG_LEVEL": "error"},
        )

    @property
    def versions(self) -> Path:
        """The folder of the revisions."""
        return self.root / "migrations/versions"

    def write(
        self, name: str, after: str | None, upgrade: str = "pass", downgrade: str = "pass"
    ) -> None:
        """Write the revision file `NAME.py`."""
        (self.versions / f"{name}.py").write_text(revision(name, after, upgrade, downgrade))

    def database(self, run_id: str = "look") -> Database:
        """Open the database without the commands."""
        return Database(parse_database_url(self.url, self.root, "shop"), run_id=run_id)

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run and commit one statement, and return its rows."""
        database = self.database()
        async with database.autocommit("look") as connection:
            found = await connection.exec_driver_sql(sql)
            rows = [tuple(row) for row in found.all()] if found.returns_rows else []
        await database.dispose()
        return rows

    async def tables(self) -> set[str]:
        """Return the names of the project's tables, without Alembic's."""
        sql = "SELECT name FROM sqlite_master WHERE type = 'table'"
        if not self.url.startswith("sqlite"):
            sql = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        names = {str(row[0]) for row in await self.query(sql)}
        return {name for name in names if not name.startswith(("oneoff_", "alembic_", "sqlite_"))}

    async def versions_applied(self) -> list[str]:
        """Return the revisions in Alembic's version table."""
        return [row[0] for row in await self.query("SELECT version_num FROM alembic_version")]
