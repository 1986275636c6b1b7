"""Define the resource `migrations`: the project's Alembic history and the database it applies to.

Most methods only plan and read. `upgrade` and `downgrade` run their steps with `revision_runner`.
Elsewhere only the executor commits. Here each revision is committed separately, because
CREATE INDEX CONCURRENTLY must be able to leave the transaction.

Methods import Alembic only when they need it: `head_if_applied` usually does not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING

from oneoff.core.errors import ConfigurationError
from oneoff.core.policy import Mode
from oneoff.database.roles import lock_role
from oneoff.services.migrations.head_from_files import plain_env, plain_head, plain_locations
from oneoff.services.migrations.own_tables import refuse_drops
from oneoff.services.migrations.reads import Reads
from oneoff.services.migrations.usual_version_table import has_table, read_versions

if TYPE_CHECKING:
    from pathlib import Path

    from alembic.runtime.migration import RevisionStep
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.database.locks.base import HeldLock
    from oneoff.database.transaction import WorkTransaction
    from oneoff.services.migrations.alembic_context import MigrationSQL
    from oneoff.services.migrations.autogenerate import Difference
    from oneoff.services.migrations.drop_all import DatabaseObject
    from oneoff.services.migrations.history import History, Revision
    from oneoff.services.migrations.lint.report import Report
    from oneoff.services.migrations.new_revisions import Written
    from oneoff.services.migrations.revision_checks import RevisionChecks

LOCK = "migrations"
"""The lock of every command that changes the schema."""


class Migrations:
    """Read, apply, undo and write revisions for the `db` commands.

    Args:
        folder: The folder that holds `env.py` and `versions/`.
        root: The project's root folder.
        database: The database, reached without a connection pooler.
        lock: The lock that the run holds; None in a dry run.
        mode: How the run may change data. A read-only run reads in one transaction.
        metadata: Where the models are, as the project names it; empty if it has none.
        file: The file of a SQLite database. If it does not exist, a run that only reads has an
            empty database in memory instead.
    """

    def __init__(
        self,
        folder: Path,
        root: Path,
        database: Database,
        lock: HeldLock | None,
        mode: Mode,
        *,
        metadata: str = "",
        file: str = "",
    ) -> None:
        self._folder, self._root = folder, root
        self._database, self._lock = database, lock
        self._metadata = metadata
        self._reads = Reads(database, mode, file)
        self._current: tuple[str, ...] | None = None
        self.replaced: list[str] = []  # as in RevisionRunner

    @cached_property
    def history(self) -> History:
        """The revisions, read by Alembic.

        Raises:
            CommandError: A file can't be loaded.
        """
        from oneoff.services.migrations.history import History

        return History(self._folder, self._root)

    async def current(self) -> tuple[str, ...]:
        """Return the current revisions of the database: none, one, or one for each branch.

        They are read once, and again after this run has changed them.
        """
        if self._current is None:
            self._current = await self._read_current()
        return self._current

    async def _read_current(self) -> tuple[str, ...]:
        if plain_env(self._folder):
            async with self._reads.connection() as connection:
                return await read_versions(connection)
        from oneoff.services.migrations.alembic_context import exclusive_alembic, read_heads

        await self._execute_env_file()
        async with exclusive_alembic(), self._reads.connection() as connection:
            return await connection.run_sync(read_heads, self.history)

    async def head_if_applied(self) -> str:
        """Return the head, or the heads, if the database is at all of them, else an empty text."""
        current = await self.current()
        plain = plain_locations(self._folder, self._root)
        head = plain_head(self._folder) if plain else ""
        heads = (head,) if head else self.history.heads
        return ", ".join(heads) if current == heads else ""

    async def pending(self, to: str = "head") -> list[Revision]:
        """Return the revisions that `upgrade(to)` would apply, in order."""
        steps = self.history.upward(to, await self.current())
        return [self.history.describe(step.revision.revision) for step in steps]

    async def applied_at(self) -> dict[str, datetime]:
        """Return when each revision was applied; only those that oneoff applied are included."""
        from sqlalchemy import select

        from oneoff.database.tables import applied_revisions

        facts = self._database.facts
        exists = facts is not None and facts.schema_ready
        async with self._reads.connection() as connection:
            if not (exists or await has_table(connection, applied_revisions.name)):
                return {}
            rows = await connection.execute(select(applied_revisions))
            return {row.revision: row.applied_at for row in rows}

    async def upgrade(
        self, to: str = "head", on_step: Callable[[Revision], object] = lambda _: None
    ) -> list[Revision]:
        """Apply revisions up to `to`, each in its own transaction; return them.

        Args:
            to: "head", "heads", a revision or the beginning of one, or "+2".
            on_step: Called after each revision.

        Raises:
            CommandError: A revision failed and was rolled back. The revisions before it stay.
        """
        return await self._run(self.history.upward(to, await self.current()), on_step)

    async def downgrade(
        self, to: str, on_step: Callable[[Revision], object] = lambda _: None
    ) -> list[Revision]:
        """Undo revisions down to `to`, each in its own transaction; return them.

        Args:
            to: As for `History.downward`.
            on_step: Called after each revision.

        Raises:
            CommandError: A revision failed and was rolled back. Those before it stay undone.
        """
        return await self._run(self.history.downward(to, await self.current()), on_step)

    def downward(self, to: str, current: tuple[str, ...]) -> list[Revision]:
        """Return the revisions that `downgrade(to)` would undo, in order."""
        steps = self.history.downward(to, current)
        return [self.history.describe(step.revision.revision) for step in steps]

    async def upgrade_sql(self, to: str = "head") -> MigrationSQL:
        """Return what `upgrade(to)` would run, without running it."""
        return await self._render(self.history.upward(to, await self.current()))

    async def downgrade_sql(self, to: str) -> MigrationSQL:
        """Return what `downgrade(to)` would run, without running it."""
        return await self._render(self.history.downward(to, await self.current()))

    async def sql_of(self, revision: str, *, down: bool = False) -> MigrationSQL:
        """Return the SQL of one revision, applied or not, or the SQL that undoes it."""
        from oneoff.services.migrations.alembic_context import render_sql

        step = self.history.step(revision, down=down)
        await self._execute_env_file()
        return render_sql(self.history, self._database.url.dialect, step.from_revisions, [step])

    async def stamp(self, to: str) -> None:
        """Store that the database is at a revision, without running one.

        Args:
            to: As for `History.stamp_steps`.

        Raises:
            CommandError: A current revision is unknown, or the lock was lost.
        """
        from oneoff.services.migrations.alembic_context import exclusive_alembic, run_online

        await self._execute_env_file()
        self._current = None
        async with exclusive_alembic(), self._database.connect("schema") as connection:
            if self._lock is not None:
                await self._lock.check()
            await connection.run_sync(
                lambda one: run_online(
                    one, self.history, lambda heads, _: self.history.stamp_steps(to, heads)
                )
            )

    async def lint(self, to: str = "head", *, since: str = "", strict: bool = False) -> Report:
        """Return what is unsafe in the revisions that `upgrade(to)` would apply. Only reads.

        With `since`, check all after that revision or "base". `strict`: see `check_revisions`.
        """
        from oneoff.services.migrations.lint.report import check_revisions

        await self._execute_env_file()
        current = self.history.start(since) if since else await self.current()
        async with self._reads.connection() as connection:
            return await check_revisions(connection, self.history, to, current, strict=strict)

    async def failed_checks(self, to: str = "heads") -> list[str]:
        """Return a line for each revision of `upgrade(to)` whose `checks` would fail now."""
        return await self._checks().failures(self.history.upward(to, await self.current()))

    def _checks(self) -> RevisionChecks:
        from oneoff.services.migrations.revision_checks import RevisionChecks

        return RevisionChecks(self.history, self._reads.for_code_of_the_project)

    async def has_models(self) -> bool:
        """Return whether env.py passes the metadata of the models, as `difference` needs it."""
        await self._execute_env_file()
        assert self.history.env is not None  # noqa: S101 - it was executed
        return self.history.env.configure.get("target_metadata") is not None

    async def difference(self, message: str = "") -> Difference:
        """Return the operations that would make the database match the models. Only reads.

        Args:
            message: What the new revision is for.

        Raises:
            ConfigurationError: env.py passes no models.
        """
        from oneoff.services.migrations.autogenerate import compare

        if not await self.has_models():
            raise ConfigurationError(
                "migrations/env.py passes no models to compare with",
                why="its target_metadata is None",
                try_="set target_metadata = Base.metadata in migrations/env.py",
                code="no-models",
            )
        return await self._ask_alembic(partial(compare, message=message))

    async def blank(self, message: str, heads: Sequence[str]) -> Difference:
        """Return a revision without operations that follows `heads`."""
        from oneoff.services.migrations.autogenerate import blank

        await self._execute_env_file()
        return await self._ask_alembic(partial(blank, message=message, after=heads))

    async def _ask_alembic(self, ask: Callable[..., Difference]) -> Difference:
        from oneoff.runtime.other_connections import read_only_connections
        from oneoff.services.migrations.alembic_context import exclusive_alembic

        ask = partial(ask, history=self.history, heads=await self.current())
        async with exclusive_alembic(), self._reads.for_code_of_the_project() as connection:
            with read_only_connections(Mode.READ_ONLY, clients=False):
                return await connection.run_sync(ask)

    async def write(self, new: Difference, *, verified: bool) -> Written:
        """Write the files of new revisions, after they were tried on a scratch database if asked.

        Raises:
            CommandError: They can't be applied or undone, or not be written as the project's
                settings say. Nothing is left of the files.
        """
        from oneoff.services.migrations.new_revisions import write

        return await write(self._database, self.history, new, verified=verified)

    async def database_objects(self) -> list[DatabaseObject]:
        """Return every object of the project in the database, in the order of `reset`."""
        await self._execute_env_file()
        async with self._reads.connection() as connection:
            return await self._find_objects(connection)

    async def reset(self) -> list[DatabaseObject]:
        """Drop every object of the project, and apply all revisions; return the dropped objects.

        Both are done in one transaction. It ends early if a revision leaves its transaction.

        Raises:
            CommandError: A revision failed. Unless one left its transaction, nothing was dropped.
        """
        from oneoff.services.migrations.drop_all import drop_objects
        from oneoff.services.migrations.revision_runner import RevisionRunner

        await self._execute_env_file()
        dropped: list[DatabaseObject] = []

        async def drop(connection: AsyncConnection) -> None:
            dropped[:] = await self._find_objects(connection)
            await drop_objects(connection, dropped)

        place, self._current = await self._reads.place(), None
        async with RevisionRunner.open(self._database, self.history, self._lock) as runner:
            await runner.run_together(place, self.history.upward("heads", ()), drop)
        return dropped

    async def _find_objects(self, connection: AsyncConnection) -> list[DatabaseObject]:
        from oneoff.services.migrations.drop_all import find_objects, model_schemas

        given = self.history.env.configure if self.history.env else {}
        version_table = (given.get("version_table_schema") or "", given.get("version_table") or "")
        return await find_objects(
            connection, model_schemas(self._metadata), self.history.created_schemas(), version_table
        )

    async def ensure_environment(self, environment: str) -> bool:
        """Store in the database which environment it belongs to, unless that is already stored.

        A stricter one may have been stored since the run's environment was decided; it stays.
        Returns whether anything was changed.
        """
        from oneoff.config.environment import effective
        from oneoff.database.schema.facts import read_facts, store_environment

        known = self._database.facts
        if known and known.stores(effective(environment, known)):
            return False
        async with self._database.transaction("schema") as connection:
            facts = await read_facts(connection, self._database.url)
            environment = effective(environment, facts)
            if facts.stores(environment):
                return False
            await store_environment(connection, facts, environment)
        return True

    async def close(self) -> None:
        """Close the connection that was used for reading."""
        await self._reads.close()

    @asynccontextmanager
    async def begin_work(self) -> AsyncIterator[WorkTransaction]:
        """Start a transaction for the sample data of `db reset`. The caller commits it.

        The resource `work` can't be used, because it would be open while the tables are dropped.
        """
        from oneoff.database.transaction import begin_work

        async with begin_work(self._database, Mode.COMMIT, role=lock_role(LOCK)) as work:
            yield work

    async def lock_holder(self) -> str:
        """Describe the run that holds the migration lock; empty if no run holds it."""
        from oneoff.database.locks.acquire import describe_holder, make_lock

        async with self._reads.connection() as connection:
            return await describe_holder(make_lock(self._database, LOCK), connection)

    async def _execute_env_file(self) -> None:
        """Execute env.py without migrating, if that was not done before."""
        from oneoff.services.migrations.alembic_context import exclusive_alembic
        from oneoff.services.migrations.env_file import execute_env_file

        if self.history.env is None:
            async with exclusive_alembic():
                await execute_env_file(self.history, await self._reads.place())

    async def _run(
        self,
        plan: list[RevisionStep],
        on_step: Callable[[Revision], object],
    ) -> list[Revision]:
        from oneoff.services.migrations.revision_runner import RevisionRunner

        refuse_drops(self.history, plan)
        history, plain = self.history, plain_env(self._folder)
        if not plain:
            # Before the first revision it must be known that env.py uses no other database.
            await self._execute_env_file()
        place, current, self._current = await self._reads.place(), await self.current(), None
        async with RevisionRunner.open(self._database, history, self._lock) as runner:
            runner.before_step = self._checks().run
            # A check of the revisions has executed env.py. If that is plain, it has no more to do.
            executed = plain and history.env is not None
            run = runner.run_steps if executed else partial(runner.run, place)
            await run(plan, current, lambda one: on_step(history.describe(one.revision.revision)))
            self.replaced += runner.replaced
            return [history.describe(step.revision.revision) for step in runner.done]

    async def _render(self, steps: list[RevisionStep]) -> MigrationSQL:
        from oneoff.services.migrations.alembic_context import render_sql

        refuse_drops(self.history, steps)
        await self._execute_env_file()
        dialect = self._database.url.dialect
        return render_sql(self.history, dialect, await self.current(), steps)
