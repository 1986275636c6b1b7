"""Changed rows are counted by table; a dry run predicts the counts of the real run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from oneoff.config.database_url import parse_database_url
from oneoff.core.outcome import RowCounts
from oneoff.core.policy import Mode
from oneoff.database.engine import Database
from oneoff.database.transaction import WorkTransaction, begin_work


class Base(DeclarativeBase):
    """Declares the tables of these tests."""


class Author(Base):
    """Has books, which are deleted with their author."""

    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Book(Base):
    """Belongs to an author."""

    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id", ondelete="CASCADE"))
    title: Mapped[str]


class Quoted(Base):
    """Needs quoting."""

    __tablename__ = 'odd "name"'
    id: Mapped[int] = mapped_column(primary_key=True)


class FrameworkTable(Base):
    """Belongs to the framework."""

    __tablename__ = "oneoff_things"
    id: Mapped[int] = mapped_column(primary_key=True)


class AlembicVersion(Base):
    """Belongs to Alembic."""

    __tablename__ = "alembic_version"
    version_num: Mapped[str] = mapped_column(primary_key=True)


Command = Callable[[WorkTransaction], Awaitable[Any]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Make a database with two authors, three books each."""
    database = Database(parse_database_url(database_url, Path(), "shop"), run_id="test")
    async with database.connect("schema") as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Author), [{"id": n, "name": f"a{n}"} for n in (1, 2)])
        await connection.execute(
            insert(Book),
            [{"id": n, "author_id": n % 2 + 1, "title": f"t{n}"} for n in range(1, 7)],
        )
        await connection.commit()
    yield database
    await database.dispose()


async def orm(work: WorkTransaction) -> None:
    """Change objects."""
    author = await work.session.get_one(Author, 1)
    author.name = "renamed"
    work.session.add_all([Book(id=n, author_id=2, title="new") for n in range(10, 14)])
    await work.session.flush()
    await work.session.delete(await work.session.get_one(Book, 2))


async def core_bulk(work: WorkTransaction) -> None:
    """Change many rows by one statement."""
    await work.session.execute(update(Book).where(Book.id <= 4).values(title="x"))
    await work.session.execute(delete(Book).where(Book.id > 4))
    await work.session.execute(
        insert(Book).from_select(
            ["id", "author_id", "title"], select(Book.id + 100, Book.author_id, Book.title)
        )
    )


async def executemany(work: WorkTransaction) -> None:
    """Send one statement with many sets of parameters."""
    connection = await work.session.connection()
    await connection.execute(
        insert(Book), [{"id": n, "author_id": 1, "title": "t"} for n in range(20, 25)]
    )
    await connection.exec_driver_sql(
        "INSERT INTO authors (id, name) VALUES (?, ?)"
        if connection.dialect.name == "sqlite"
        else "INSERT INTO authors (id, name) VALUES ($1, $2)",
        [(3, "c"), (4, "d")],
    )


async def cascade(work: WorkTransaction) -> None:
    """Delete a row, and by a cascade those that refer to it."""
    await work.session.execute(delete(Author).where(Author.id == 1))


async def upsert(work: WorkTransaction) -> None:
    """Insert or update, and insert or do nothing."""
    await work.session.execute(
        text(
            "INSERT INTO authors (id, name) VALUES (1, 'again'), (9, 'new')"
            " ON CONFLICT (id) DO UPDATE SET name = excluded.name"
        )
    )
    await work.session.execute(
        text("INSERT INTO authors (id, name) VALUES (2, 'x') ON CONFLICT DO NOTHING")
    )


async def quoted(work: WorkTransaction) -> None:
    """Insert into the table whose name needs quoting."""
    work.session.add(Quoted(id=1))


async def framework_tables(work: WorkTransaction) -> None:
    """Write to the tables of the framework and Alembic."""
    work.session.add_all([FrameworkTable(id=1), AlembicVersion(version_num="abc")])


async def deletes_all(work: WorkTransaction) -> None:
    """Delete without a condition."""
    await work.session.execute(delete(Book))


async def reads(work: WorkTransaction) -> None:
    """Change nothing."""
    await work.session.execute(select(Author))


async def session_commits(work: WorkTransaction) -> None:
    """Commit the session after each row."""
    for number in (30, 31):
        work.session.add(Author(id=number, name=f"n{number}"))
        await work.session.commit()


COMMANDS: list[tuple[Command, dict[str, RowCounts]]] = [
    (orm, {"authors": RowCounts(0, 1, 0), "books": RowCounts(4, 0, 1)}),
    (core_bulk, {"books": RowCounts(4, 4, 2)}),
    (executemany, {"authors": RowCounts(2, 0, 0), "books": RowCounts(5, 0, 0)}),
    (cascade, {"authors": RowCounts(0, 0, 1), "books": RowCounts(0, 0, 3)}),
    (upsert, {"authors": RowCounts(1, 1, 0)}),
    (framework_tables, {}),
    (deletes_all, {"books": RowCounts(0, 0, 6)}),
    (reads, {}),
    (session_commits, {"authors": RowCounts(2, 0, 0)}),
]


async def preview(database: Database, command: Command) -> dict[str, RowCounts]:
    """Run a command as with --dry-run."""
    async with begin_work(database, Mode.ROLLBACK) as work:
        await command(work)
        return await work.finish_dry_run()


async def real(database: Database, command: Command) -> dict[str, RowCounts]:
    """Run a command for real."""
    async with begin_work(database, Mode.COMMIT) as work:
        await command(work)
        return await work.commit()


@pytest.mark.parametrize(
    ("command", "expected"), COMMANDS, ids=[command.__name__ for command, _ in COMMANDS]
)
async def test_the_preview_and_the_real_run_count_the_same_rows(
    database: Database, command: Command, expected: dict[str, RowCounts]
) -> None:
    """Both counts equal the changes in the database, for each way to write."""
    previewed = await preview(database, command)
    done = await real(database, command)

    assert (expected, expected) == (previewed, done)


async def test_a_name_that_needs_quoting_is_counted(database: Database) -> None:
    """PostgreSQL shows the name in quotes, SQLite without."""
    previewed = await preview(database, quoted)

    assert [RowCounts(inserted=1)] == list(previewed.values())
    assert 'odd "' in next(iter(previewed))


async def test_counts_are_kept_for_the_run_record(database: Database) -> None:
    """They can be read after the work has ended."""
    async with begin_work(database, Mode.COMMIT) as work:
        await cascade(work)
        counts = await work.commit()

    assert counts == work.changes()
    assert "" == work.uncounted


async def test_counting_does_not_change_rowcount_and_new_keys(
    database: Database,
) -> None:
    """A command sees the same values as without counting."""
    async with begin_work(database, Mode.COMMIT) as work:
        changed = await work.session.execute(update(Book).values(title="x"))
        author = Author(name="auto")
        if database.url.dialect == "postgresql":
            await work.session.execute(text("SELECT setval('authors_id_seq', 2)"))
        work.session.add(author)
        await work.session.flush()

    assert (6, 3) == (changed.rowcount, author.id)  # type: ignore[attr-defined]


async def test_only_postgresql_counts_rows_of_a_savepoint_that_was_rolled_back(
    database: Database,
) -> None:
    """The counts of dry run and real run are the same."""

    async def tries_twice(work: WorkTransaction) -> None:
        with pytest.raises(IntegrityError):
            async with work.session.begin_nested():
                work.session.add(Author(id=50, name="a1"))
                await work.session.flush()
        work.session.add(Author(id=50, name="other"))

    attempts = 2 if database.url.dialect == "postgresql" else 1
    expected = {"authors": RowCounts(inserted=attempts)}

    assert expected == await preview(database, tries_twice)
    assert expected == await real(database, tries_twice)


class TestPostgreSQL:
    """Features that only PostgreSQL has."""

    @pytest.fixture
    def database_url(self, postgres_url: str) -> str:
        """Use only PostgreSQL."""
        return postgres_url

    async def test_copy_is_counted(self, database: Database) -> None:
        """Rows that the driver sends without SQLAlchemy count too."""

        async def copy(work: WorkTransaction) -> None:
            driver: Any = (await work.connection.get_raw_connection()).driver_connection
            await driver.copy_records_to_table(
                "books", records=[(n, 1, "c") for n in range(1000, 3000)]
            )

        expected = {"books": RowCounts(inserted=2000)}
        assert (expected, expected) == (await preview(database, copy), await real(database, copy))

    async def test_a_cte_that_writes_is_counted(self, database: Database) -> None:
        """One statement may change several tables."""

        async def moves(work: WorkTransaction) -> None:
            await work.session.execute(
                text(
                    "WITH gone AS (DELETE FROM books WHERE author_id = 1 RETURNING title)"
                    " INSERT INTO authors (id, name) SELECT 100, min(title) FROM gone"
                )
            )

        expected = {"authors": RowCounts(inserted=1), "books": RowCounts(deleted=3)}
        assert (expected, expected) == (await preview(database, moves), await real(database, moves))

    async def test_rows_of_partitions_count_for_the_partitioned_table(
        self, database: Database
    ) -> None:
        """A table outside of the search path is shown with its schema."""
        async with database.connect("schema") as connection:
            for statement in (
                "CREATE SCHEMA archive",
                "CREATE TABLE archive.events (id int, kind int) PARTITION BY LIST (kind)",
                "CREATE TABLE archive.events_1 PARTITION OF archive.events FOR VALUES IN (1)",
                "CREATE TABLE archive.events_2 PARTITION OF archive.events FOR VALUES IN (2)",
            ):
                await connection.exec_driver_sql(statement)
            await connection.commit()

        async def writes(work: WorkTransaction) -> None:
            await work.session.execute(text("INSERT INTO archive.events VALUES (1, 1), (2, 2)"))

        expected = {"archive.events": RowCounts(inserted=2)}
        assert (expected, expected) == (
            await preview(database, writes),
            await real(database, writes),
        )

    async def test_temporary_tables_are_not_counted(self, database: Database) -> None:
        """They disappear with the connection."""

        async def stages(work: WorkTransaction) -> None:
            await work.session.execute(text("CREATE TEMP TABLE staging AS SELECT * FROM books"))

        assert {} == await preview(database, stages)

    async def test_rows_of_other_transactions_behind_pgbouncer_are_not_counted(
        self, database: Database, pgbouncer_url: str
    ) -> None:
        """A pooled server connection may still have statistics of its last transaction."""
        pooled = Database(parse_database_url(pgbouncer_url, Path(), "shop"), run_id="pooled")
        expected = {"authors": RowCounts(inserted=2)}

        first = await real(pooled, session_commits)
        async with pooled.connect() as connection:
            await connection.execute(delete(Author).where(Author.id >= 30))
            await connection.commit()
        second = await real(pooled, session_commits)

        assert (expected, expected) == (first, second)

    async def test_a_server_that_does_not_count_is_reported(self, database: Database) -> None:
        """Unknown counts are not shown as zero rows."""
        async with database.connect("schema") as connection:
            await connection.exec_driver_sql(
                f'ALTER DATABASE "{database.url.database}" SET track_counts = off'
            )
            await connection.commit()

        async with begin_work(database, Mode.ROLLBACK) as work:
            await cascade(work)
            counts = await work.finish_dry_run()

        assert {} == counts
        assert "rows can't be counted: track_counts is off on the server" == work.uncounted


class TestSQLite:
    """Features that only SQLite has."""

    @pytest.fixture
    def database_url(self, sqlite_url: str) -> str:
        """Use only SQLite."""
        return sqlite_url

    async def test_the_counting_triggers_do_not_exist_after_the_run(
        self, database: Database
    ) -> None:
        """They are temporary, and belong to the run's connection."""
        await real(database, cascade)

        async with database.connect("look") as connection:
            names = await connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE name LIKE '%oneoff_count%'"
                " UNION SELECT name FROM sqlite_temp_master"
            )
            assert [] == list(names.scalars())

    async def test_virtual_tables_are_not_counted(self, database: Database) -> None:
        """They can't have triggers, and their internal tables are not shown either."""
        async with database.connect("schema") as connection:
            await connection.exec_driver_sql("CREATE VIRTUAL TABLE search USING fts5(words)")
            await connection.commit()

        async def indexes(work: WorkTransaction) -> None:
            await work.session.execute(text("INSERT INTO search VALUES ('one two')"))
            await work.session.execute(delete(Book).where(Book.id == 1))

        assert {"books": RowCounts(deleted=1)} == await preview(database, indexes)


async def count(session: AsyncSession, model: type[Base]) -> int:
    """Return the number of rows."""
    return (await session.execute(select(func.count()).select_from(model))).scalar_one()


async def test_a_preview_sees_its_own_work(database: Database) -> None:
    """The command can read its own changes; afterwards they are rolled back."""
    async with begin_work(database, Mode.ROLLBACK) as work:
        await cascade(work)
        inside = await count(work.session, Book)
        await work.finish_dry_run()
    async with AsyncSession(database.engine) as session:
        outside = await count(session, Book)

    assert (3, 6) == (inside, outside)
