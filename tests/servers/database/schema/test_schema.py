"""The framework creates its own tables, and stores facts about the database in them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, select

import oneoff.database.schema
from oneoff.config.database_url import DatabaseURL, parse_database_url
from oneoff.config.environment import Facts
from oneoff.database.engine import Database
from oneoff.database.schema.facts import HEAD, read_facts, store_environment
from oneoff.database.schema.upgrade import ensure_schema
from oneoff.database.tables import (
    PREFIX,
    VERSION_TABLE,
    applied_revisions,
    maintenance,
    metadata,
    shell_inputs,
)
from tests.support.servers import Postgres


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Open an empty database."""
    database = open_database(database_url)
    yield database
    await database.dispose()


def open_database(url: str) -> Database:
    """Open a database."""
    return Database(parse_database_url(url, Path(), "shop"), run_id="test")


async def store(database: Database, environment: str) -> None:
    """Store an environment, as `migrate` does."""
    async with database.connect("schema", immediate=True) as connection:
        facts = await read_facts(connection, database.url)
        await store_environment(connection, facts, environment)
        await connection.commit()


async def facts_of(database: Database) -> Facts:
    """Return the database's facts about itself."""
    async with database.connect("look") as connection:
        return await read_facts(connection, database.url)


async def test_the_revisions_create_the_tables_that_the_code_declares(database: Database) -> None:
    """The two declarations can't differ."""
    await ensure_schema(database)

    def differences(connection: Connection) -> list[object]:
        options = {
            "version_table": VERSION_TABLE,
            "include_object": lambda _object, _name, kind, *_: kind != "index",  # see tables.py
        }
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    async with database.connect("look") as connection:
        assert [] == await connection.run_sync(differences)


def test_head_is_the_newest_revision() -> None:
    """The constant saves an import of Alembic at each start, so it must be updated."""
    folder = Path(oneoff.database.schema.__file__).parent

    assert HEAD == ScriptDirectory(str(folder)).get_current_head()


def test_all_tables_have_the_prefix() -> None:
    """Because of the prefix, drift of the project and `db reset` ignore them."""
    assert all(name.startswith(PREFIX) for name in metadata.tables)


async def test_several_processes_may_create_the_tables_at_the_same_time(
    database_url: str, database: Database
) -> None:
    """One creates them, and the others wait for it."""
    others = [open_database(database_url) for _ in range(8)]

    await asyncio.gather(*(ensure_schema(other) for other in others))

    assert (await facts_of(database)).schema_ready
    for other in others:
        await other.dispose()


async def test_current_tables_are_not_upgraded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alembic is not even imported."""
    await ensure_schema(database)
    monkeypatch.setitem(__import__("sys").modules, "alembic.operations", None)

    await ensure_schema(database)  # importing a module that is None is an error

    assert (await facts_of(database)).schema_ready


async def test_tables_of_an_older_version_are_upgraded(database: Database) -> None:
    """Their rows are kept."""
    await ensure_schema(database)
    async with database.connect("schema") as connection:
        approvals = ("approval_uses", "approvers", "approvals")
        for table in ("maintenance", "shell_inputs", "batches", "outbox", "audit", *approvals):
            await connection.exec_driver_sql(f"DROP TABLE oneoff_{table}")
        if connection.dialect.name == "postgresql":
            functions = "oneoff_audit_append(), oneoff_audit_refuse()"
            await connection.exec_driver_sql(f"DROP FUNCTION {functions}")
        await connection.exec_driver_sql("DROP INDEX ix_oneoff_runs_break_glass")
        await connection.exec_driver_sql("ALTER TABLE oneoff_runs DROP COLUMN parent")
        await connection.exec_driver_sql("UPDATE oneoff_alembic_version SET version_num = '0001'")
        await connection.commit()
    await store(database, "staging")
    before = await facts_of(database)

    await ensure_schema(database)

    after = await facts_of(database)
    assert (False, True) == (before.schema_ready, after.schema_ready)
    assert "staging" == after.stored_environment
    async with database.connect("look") as connection:
        assert [] == list(await connection.execute(select(maintenance)))
        assert [] == list(await connection.execute(select(shell_inputs)))


async def test_tables_of_a_newer_version_are_accepted(database: Database) -> None:
    """During a deployment, old code still works."""
    await ensure_schema(database)
    async with database.connect("schema") as connection:
        await connection.exec_driver_sql("UPDATE oneoff_alembic_version SET version_num = '9999'")
        await connection.commit()

    await ensure_schema(database)

    assert (await facts_of(database)).schema_ready


async def test_an_empty_database_has_no_stored_facts(database: Database) -> None:
    """Reading the facts needs no table."""
    facts = await facts_of(database)

    assert (database.url.name, "", "", False) == (
        facts.database,
        facts.stored_environment,
        facts.stored_identity,
        facts.schema_ready,
    )


async def test_the_last_stored_environment_is_read(database: Database) -> None:
    """It is stored with the identity of the database."""
    await ensure_schema(database)
    await store(database, "staging")
    await store(database, "production")

    facts = await facts_of(database)

    assert ("production", False) == (facts.stored_environment, facts.is_copy)
    assert facts.identity == facts.stored_identity


async def test_a_restored_postgresql_database_is_recognised_as_a_copy(
    postgres_server: Postgres, postgres_url: str, postgres_database: str
) -> None:
    """Its stored environment is that of the original."""
    original = open_database(postgres_url)
    await ensure_schema(original)
    await store(original, "production")
    await original.dispose()
    with postgres_server.database(postgres_database) as name:
        copy = open_database(postgres_server.url(name))

        facts = await facts_of(copy)
        await copy.dispose()

    assert ("production", True) == (facts.stored_environment, facts.is_copy)


async def test_a_copied_sqlite_file_is_recognised_as_a_copy(
    sqlite_url: str, tmp_path: Path
) -> None:
    """It has another path and another inode."""
    original = open_database(sqlite_url)
    await ensure_schema(original)
    await store(original, "production")
    await original.dispose()
    shutil.copyfile(original.url.database, tmp_path / "copy.sqlite3")
    copy = Database(DatabaseURL("sqlite", database=str(tmp_path / "copy.sqlite3")), run_id="test")

    facts = await facts_of(copy)
    await copy.dispose()

    assert ("production", True) == (facts.stored_environment, facts.is_copy)


@pytest.mark.parametrize("how", ["symlink", "hard link", "moved"])
async def test_a_sqlite_file_stays_the_same_under_another_name(
    sqlite_url: str, tmp_path: Path, how: str
) -> None:
    """Or a link to the production database would be a database without protection."""
    original = open_database(sqlite_url)
    await ensure_schema(original)
    await store(original, "production")
    await original.dispose()
    file, name = Path(original.url.database), tmp_path / "other.sqlite3"
    {"symlink": name.symlink_to, "hard link": name.hardlink_to, "moved": file.rename}[how](
        name if how == "moved" else file
    )
    other = open_database(f"sqlite:///{name}")

    facts = await facts_of(other)
    await other.dispose()

    assert ("production", False) == (facts.stored_environment, facts.is_copy)


async def test_times_are_read_as_aware_and_in_utc(database: Database) -> None:
    """SQLite stores no time zone."""
    await ensure_schema(database)
    moment = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)

    async with database.connect("schema") as connection:
        row = {"revision": "a1", "applied_at": moment, "run_id": "1"}
        await connection.execute(insert(applied_revisions).values(row))
        stored = (await connection.execute(select(applied_revisions.c.applied_at))).scalar_one()

    assert (moment, UTC) == (stored, stored.tzinfo)
