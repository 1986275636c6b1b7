"""Apply and undo a new revision on an empty database of its own, before its file is written."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from oneoff.core.errors import CommandError
from oneoff.database import sqlstates
from oneoff.database.engine import Database
from oneoff.database.locks.postgresql import number_of
from oneoff.database.schema.upgrade import ensure_schema
from oneoff.services.migrations.alembic_context import exclusive_alembic, read_heads
from oneoff.services.migrations.autogenerate import compare
from oneoff.services.migrations.errors import message_of, own_sqlstate
from oneoff.services.migrations.history import History
from oneoff.services.migrations.revision_runner import RevisionRunner
from oneoff.services.migrations.snapshot import take_snapshot

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from sqlalchemy.ext.asyncio import AsyncConnection

Choose = Callable[[tuple[str, ...]], "list[RevisionStep]"]
"""Takes the revisions of the scratch database and returns the steps to run."""

PREFIX = "oneoff_scratch_"
"""What the names of scratch databases and folders begin with."""
_ALIVE = "alive"  # a file that the process which uses the folder has locked
_DATABASES = """
SELECT datname FROM pg_database WHERE starts_with(datname, $1) AND pg_has_role(datdba, 'USAGE')
"""
# The locks of all databases of the server: the other run may migrate another one.
_LOCKS = """
SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted
"""
_SHOWN = 5  # lines of a comparison in an error
_EXTENSIONS = """
SELECT extname, nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
WHERE extname <> 'plpgsql' ORDER BY 1
"""
_SCHEMAS = """
SELECT nspname FROM pg_namespace
WHERE nspname NOT IN ('public', 'information_schema') AND nspname !~ '^pg_' ORDER BY 1
"""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a temporary folder, which the next run removes if this process is killed."""
    with TemporaryDirectory(prefix=PREFIX) as name:
        path = Path(name)
        with (path / "new").open("w") as file:
            # The lock is taken before other processes look for it.
            flock(file, LOCK_EX)
            (path / "new").rename(path / _ALIVE)
            (path / "files").mkdir()
            yield path / "files"


async def verify(
    database: Database, history: History, new: Sequence[str], folder: Path, *, compared: bool
) -> list[str]:
    """Apply revisions on a scratch database, undo them, and apply them again; return warnings.

    Args:
        database: The database of the run. A SQLite scratch database is a file in the folder; one on
            PostgreSQL is another database on the same server, which is dropped afterwards.
        history: All revisions. Those before the new ones are applied first.
        new: The new revisions.
        folder: An existing folder.
        compared: Whether the models and the scratch database must agree afterwards.

    Raises:
        CommandError: The revisions can't be applied or undone, or do not do what they should; or
            there can't be a scratch database.
    """
    async with _scratch(database, folder, history) as scratch:
        return await _Verification(scratch, history, new, compared=compared).run()


async def remove_leftovers(database: Database) -> list[str]:
    """Remove what killed runs have left; return warnings that say what that was."""
    found = [await to_thread(_remove_folders)]
    if database.url.dialect == "postgresql":
        async with database.autocommit("scratch") as server:
            found.append(await _drop_leftovers(server))
    return [f"removed {name}, which a killed run had left" for names in found for name in names]


def _remove_folders() -> list[str]:
    removed: list[str] = []
    for path in Path(gettempdir()).glob(f"{PREFIX}*/{_ALIVE}"):
        with suppress(OSError), path.open("r+") as file:  # it may end meanwhile
            flock(file, LOCK_EX | LOCK_NB)
            rmtree(path.parent)
            removed.append(str(path.parent))
    return removed


async def _drop_leftovers(server: AsyncConnection) -> list[str]:
    names = (await server.exec_driver_sql(_DATABASES, (PREFIX,))).scalars().all()
    # A run takes its lock before it creates the database. So read the locks after the names.
    held = set((await server.exec_driver_sql(_LOCKS)).scalars()) if names else set()
    dropped: list[str] = []
    for name in names:
        if number_of(name) not in held:
            with suppress(DBAPIError):  # another run removes it
                await drop_database(server, name)
                dropped.append(name)
    return dropped


class _Verification:
    """The steps of one verification."""

    def __init__(
        self, scratch: Database, history: History, new: Sequence[str], *, compared: bool
    ) -> None:
        self._scratch = scratch
        self._history = history
        self._new = new
        self._compared = compared

    async def run(self) -> list[str]:
        await ensure_schema(self._scratch)
        await self._go(
            self._before, "the revisions before it can't be applied to an empty database"
        )
        before = await self._snapshot()
        await self._go(self._up, "it can't be applied")
        after = await self._snapshot()
        left = await self._compare_models() if self._compared else []
        await self._go(self._down, "it can't be undone")
        _expect(before, await self._snapshot(), "undoing it does not restore the schema")
        await self._go(self._up, "it can't be applied again after it was undone")
        _expect(after, await self._snapshot(), "applying it twice gives different schemas")
        return left

    def _before(self, here: tuple[str, ...]) -> list[RevisionStep]:
        steps = self._history.upward("heads", here)
        return [step for step in steps if step.revision.revision not in self._new]

    def _up(self, here: tuple[str, ...]) -> list[RevisionStep]:
        return self._history.upward("heads", here)

    def _down(self, _here: tuple[str, ...]) -> list[RevisionStep]:
        return self._history.undoing(self._new)

    async def _go(self, choose: Choose, problem: str) -> None:
        try:
            async with exclusive_alembic(), self._scratch.connect("scratch") as connection:
                here = await connection.run_sync(read_heads, self._history)
            async with RevisionRunner.open(self._scratch, self._history, None) as runner:
                # env.py may connect to the real database by itself, so it is not executed again.
                await runner.run_steps(choose(here), here)
        except CommandError as exc:
            raise _refused(problem, exc.message) from exc

    async def _snapshot(self) -> frozenset[str]:
        async with self._scratch.connect("scratch") as connection:
            return await take_snapshot(connection)

    async def _compare_models(self) -> list[str]:
        """Return a warning if the models still differ, and env.py has changed the revision."""
        async with exclusive_alembic(), self._scratch.connect("scratch") as connection:
            left = (
                await connection.run_sync(compare, self._history, self._history.heads)
            ).operations
        problem = "after it, the models still differ"
        if not left:
            return []
        if self._history.env and self._history.env.configure.get("process_revision_directives"):
            return [f"{problem}: {_shorten(left)}"]
        raise _refused(problem, _shorten(left))


def _expect(wanted: frozenset[str], found: frozenset[str], problem: str) -> None:
    if wanted != found:
        lines = [f"missing: {line}" for line in sorted(wanted - found)]
        raise _refused(problem, _shorten(lines + [f"new: {line}" for line in found - wanted]))


def _shorten(lines: Sequence[str]) -> str:
    more = len(lines) - _SHOWN
    return "; ".join([*lines[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _refused(problem: str, why: str) -> CommandError:
    return CommandError(
        f"the revision was not written: {problem}",
        why=f"on a scratch database: {why}",
        try_=(
            "change the models",
            'python manage.py db create-migration -m "what changed" --empty',
            "to write it as it is, add --no-verify",
        ),
        code="unverified-revision",
    )


@asynccontextmanager
async def _scratch(database: Database, folder: Path, history: History) -> AsyncIterator[Database]:
    """Open an empty database for one verification."""
    if database.url.dialect == "sqlite":
        file = folder / "scratch.sqlite3"
        scratch = Database(
            database.url._replace(database=str(file)),
            run_id=database.run_id,
            project=database.project,
        )
        try:
            yield scratch
        finally:
            await scratch.dispose()
            file.unlink(missing_ok=True)
        return
    name = f"{PREFIX}{database.run_id}"
    async with database.autocommit("scratch") as server:
        # While this connection is open, the lock shows that the database is in use.
        await server.exec_driver_sql("SELECT pg_advisory_lock($1)", (number_of(name),))
        await _create(server, name)
        scratch = Database(
            database.url._replace(database=name), run_id=database.run_id, project=database.project
        )
        try:
            await _prepare(server, scratch, history)
            yield scratch
        finally:
            await scratch.dispose()
            await drop_database(server, name)


async def drop_database(server: AsyncConnection, name: str) -> None:
    """Drop a database if it exists, and end the sessions on it."""
    quoted = server.dialect.identifier_preparer.quote(name)
    await server.exec_driver_sql(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")


async def _create(server: AsyncConnection, name: str) -> None:
    quoted = server.dialect.identifier_preparer.quote(name)
    try:
        await server.exec_driver_sql(f"CREATE DATABASE {quoted}")
    except DBAPIError as exc:
        state = own_sqlstate(exc)
        why = f"CREATE DATABASE failed: {message_of(exc)} (SQLSTATE {state})"
        if state == sqlstates.INSUFFICIENT_PRIVILEGE:
            why = "the user of the database URL may not create databases"
        raise CommandError(
            "the revision was not written: there is no scratch database to try it on",
            why=why,
            try_=("ALTER ROLE ... CREATEDB, as a superuser", "or add --no-verify"),
            code="no-scratch-database",
        ) from exc


async def _prepare(server: AsyncConnection, scratch: Database, history: History) -> None:
    """Create the schemas and extensions that the real database has and no revision creates."""
    sources = history.sources().lower()
    quote = server.dialect.identifier_preparer.quote
    async with scratch.autocommit("scratch") as connection:
        created = history.created_schemas()
        for name in (await server.exec_driver_sql(_SCHEMAS)).scalars():
            if name not in created:
                await connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {quote(name)}")
        if "create extension" not in sources:
            found: list[Any] = [*(await server.exec_driver_sql(_EXTENSIONS)).all()]
            for name, schema in found:
                await connection.exec_driver_sql(
                    f"CREATE EXTENSION IF NOT EXISTS {quote(name)} SCHEMA {quote(schema)}"
                )
