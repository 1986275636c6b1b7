"""The resource `migrations`: the project's Alembic history, and the database it applies to.

This module and `stepping` commit, which otherwise only the executor does: each revision has a
transaction of its own, which CREATE INDEX CONCURRENTLY must be able to step out of.

Alembic is imported by the methods that need it: finding that nothing is to be done does not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import ConfigurationError
from oneoff.core.policy import Mode
from oneoff.core.project import load_object
from oneoff.services.migrations.head_from_files import plain_head

if TYPE_CHECKING:
    from pathlib import Path

    from alembic.runtime.migration import RevisionStep
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.config.settings import Config
    from oneoff.core.project import Project
    from oneoff.database.engine import Database
    from oneoff.database.locks.base import HeldLock
    from oneoff.database.transaction import WorkTransaction
    from oneoff.services.migrations.autogenerate import Difference, Draft
    from oneoff.services.migrations.drop_all import Thing
    from oneoff.services.migrations.history import History, Revision

LOCK = "migrations"
"""The lock of every command that changes the schema."""

_EXISTS = {
    "postgresql": "SELECT to_regclass('{table}') IS NOT NULL",
    "sqlite": "SELECT count(*) > 0 FROM sqlite_master WHERE name = '{table}'",
}


class Script(NamedTuple):
    """SQL to be shown.

    Attributes:
        sql: All statements, in order.
        revisions: What they do.
        problems: Why some of it can't be shown.
        drops: The statements that drop something.
    """

    sql: str
    revisions: list[Revision]
    problems: list[str]
    drops: list[list[str]]


class Migrations:
    """What the commands of `db` do with revisions.

    Args:
        scripts: The folder that holds `env.py` and `versions/`.
        root: The project's root folder.
        database: Reached without a pooler.
        lock: Held by the run; None in a preview.
        schemas: The schemas of the models, beside the default one.
    """

    def __init__(
        self,
        scripts: Path,
        root: Path,
        database: Database,
        lock: HeldLock | None,
        schemas: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._scripts = scripts
        self._root = root
        self._database = database
        self._lock = lock
        self._schemas = schemas
        self._stack = AsyncExitStack()
        self._connection: AsyncConnection | None = None

    @cached_property
    def history(self) -> History:
        """The revisions, read by Alembic.

        Raises:
            CommandError: A file can't be loaded.
        """
        from oneoff.services.migrations.history import History

        return History(self._scripts, self._root)

    async def current(self) -> tuple[str, ...]:
        """Return the revisions the database is at: none, one, or one for each branch."""
        async with self._look() as connection:
            return await _read_versions(connection)

    async def at_head(self) -> str:
        """Return the revision the database is at if that is the head, else an empty text."""
        current = await self.current()
        head = plain_head(self._scripts) or self.history.only_head()
        return head if current == (head,) else ""

    async def pending(self, to: str = "head") -> list[Revision]:
        """Return the revisions that `upgrade(to)` would apply, in order."""
        steps = self.history.upward(to, await self.current())
        return [self.history.describe(step.revision.revision) for step in steps]

    async def applied_at(self) -> dict[str, datetime]:
        """Return when revisions were applied, as far as it was this framework that did it."""
        from sqlalchemy import select

        from oneoff.database.tables import applied_revisions

        async with self._look() as connection:
            if not await _has_table(connection, applied_revisions.name):
                return {}
            rows = await connection.execute(select(applied_revisions))
            return {row.revision: row.applied_at for row in rows}

    async def upgrade(
        self, to: str = "head", on_step: Callable[[Revision], object] = lambda _: None
    ) -> list[Revision]:
        """Apply revisions up to `to`, each in its own transaction; return them.

        Args:
            to: "head", "heads", a revision or the beginning of one, or "+2".
            on_step: Called after each.

        Raises:
            CommandError: A revision failed; it was rolled back, and those before it stay.
        """
        target = self._absolute(to, await self.current())
        return await self._run(lambda here: self.history.upward(target, here), on_step)

    async def downgrade(
        self, to: str, on_step: Callable[[Revision], object] = lambda _: None
    ) -> list[Revision]:
        """Undo revisions down to `to`, each in its own transaction; return them.

        Args:
            to: "-1", "base", a revision or the beginning of one.
            on_step: Called after each.

        Raises:
            CommandError: A revision failed; it was rolled back, and those before it stay undone.
        """
        plan = self.history.downward(to, await self.current())
        undone = {step.revision.revision for step in plan}

        def choose(here: tuple[str, ...]) -> list[RevisionStep]:
            steps = self.history.downward("base", here) if here else []
            return [step for step in steps if step.revision.revision in undone]

        return await self._run(choose, on_step)

    async def upgrade_sql(self, to: str = "head") -> Script:
        """Return what `upgrade(to)` would run, without running it."""
        current = await self.current()
        return self._script(self.history.upward(to, current), current)

    async def downgrade_sql(self, to: str) -> Script:
        """Return what `downgrade(to)` would run, without running it."""
        current = await self.current()
        return self._script(self.history.downward(to, current), current)

    async def difference(self) -> Difference:
        """Return what would make the database equal to the models; reads only."""
        from oneoff.database.transaction import begin_work
        from oneoff.services.migrations.alembic_env import own_turn
        from oneoff.services.migrations.autogenerate import compare

        async with own_turn(), begin_work(self._database, Mode.READ_ONLY) as work:
            return await work.connection.run_sync(compare, self.history)

    def draft(self, message: str, down: Sequence[str], difference: Difference | None) -> Draft:
        """Return a revision that continues `down`; `write` makes it a file."""
        from oneoff.services.migrations.autogenerate import Difference, draft

        return draft(self.history, message, difference or Difference(), down)

    async def write(self, new: Draft) -> str:
        """Write a revision's file, whole, and return its path from the project's root."""
        from oneoff.services.migrations.autogenerate import write

        await write(new)
        return self.history.shorten(new.path)

    async def contents(self) -> list[Thing]:
        """Return everything of the project in the database, in the order `wipe` drops it."""
        from oneoff.services.migrations import drop_all as wipe

        async with self._look() as connection:
            return await wipe.find(connection, self._schemas())

    async def wipe(self) -> list[Thing]:
        """Drop everything of the project in one transaction; return what was dropped."""
        from oneoff.services.migrations import drop_all as wipe
        from oneoff.services.migrations import upgrade as stepping

        if self._lock is not None:
            await self._lock.check()
        async with self._database.connect(LOCK, immediate=True) as connection:
            await stepping.prepare(connection)
            things = await wipe.find(connection, self._schemas())
            await wipe.drop(connection, things)
            await connection.commit()
        return things

    async def store_environment(self, environment: str) -> bool:
        """Store in the database which environment it belongs to; return whether that is new."""
        from oneoff.database.schema.facts import read_facts, store_environment

        async with self._look() as connection:
            facts = await read_facts(connection, self._database.url)
        if facts.stored_environment == environment and not facts.is_copy:
            return False
        async with self._database.connect("schema", immediate=True) as connection:
            await store_environment(connection, facts, environment)
            await connection.commit()
        return True

    async def close(self) -> None:
        """Close the connection that was used for looking."""
        await self._stack.aclose()

    @asynccontextmanager
    async def work(self) -> AsyncIterator[WorkTransaction]:
        """Begin a transaction for sample data after a reset; commit it with `work.commit()`."""
        from oneoff.database.transaction import begin_work

        async with begin_work(self._database, Mode.COMMIT, role=LOCK) as work:
            yield work

    async def lock_holder(self) -> str:
        """Return who holds the migration lock now; empty when nobody does."""
        from oneoff.database.locks.acquire import describe_holder, make_lock

        lock = make_lock(self._database, LOCK)
        try:
            return await describe_holder(lock)
        finally:
            await lock.release()

    @asynccontextmanager
    async def _look(self) -> AsyncIterator[AsyncConnection]:
        """Give one connection for all looking; between looks it holds no transaction."""
        if self._connection is None:
            self._connection = await self._stack.enter_async_context(self._database.connect())
        try:
            yield self._connection
        finally:
            await self._connection.rollback()

    def _absolute(self, to: str, current: tuple[str, ...]) -> str:
        """Turn "+2" into the revision it means now: each step would count from its own start."""
        if not to.startswith("+"):
            return to
        steps = self.history.upward(to, current)
        return steps[-1].revision.revision if steps else "heads"

    async def _run(
        self,
        choose: Callable[[tuple[str, ...]], list[RevisionStep]],
        on_step: Callable[[Revision], object],
    ) -> list[Revision]:
        from oneoff.services.migrations.upgrade import Stepper

        history = self.history
        current = await self.current()
        async with Stepper.open(self._database, history, self._lock) as stepper:
            await stepper.run(
                choose, current, lambda step: on_step(history.describe(step.revision.revision))
            )
            return [history.describe(step.revision.revision) for step in stepper.done]

    def _script(self, steps: list[RevisionStep], current: tuple[str, ...]) -> Script:
        from oneoff.services.migrations.alembic_env import render_offline

        shown = render_offline(self.history, self._database.url.dialect, current, steps)
        revisions = [self.history.describe(one.step.revision.revision) for one in shown]
        return Script(
            "".join(one.sql for one in shown),
            revisions,
            [f"{one.step.revision.revision}: {one.problem}" for one in shown if one.problem],
            [one.drops for one in shown],
        )


async def _read_versions(connection: AsyncConnection) -> tuple[str, ...]:
    if not await _has_table(connection, "alembic_version"):
        return ()
    found = await connection.exec_driver_sql("SELECT version_num FROM alembic_version")
    return tuple(sorted(found.scalars().all()))


async def _has_table(connection: AsyncConnection, table: str) -> bool:
    answer = await connection.exec_driver_sql(_EXISTS[connection.dialect.name].format(table=table))
    return bool(answer.scalar_one())


@asynccontextmanager
async def open_migrations(
    config: Config, project: Project, database: Database, lock: HeldLock | None
) -> AsyncIterator[Migrations]:
    """Give the resource `migrations`.

    Raises:
        ConfigurationError: The project does not say where its migrations are, or they are not
            there.
    """
    if not project.migrations:
        raise ConfigurationError(
            f"the project {project.name!r} has no migrations",
            try_='say where they are: Project(..., migrations="migrations")',
            code="no-migrations",
        )
    scripts = config.root / project.migrations
    if not (scripts / "env.py").is_file():
        raise ConfigurationError(
            f"{project.migrations}/env.py is not there",
            why=f"the project says migrations={project.migrations!r}",
            try_=f"write {project.migrations}/env.py; it is three lines: see `oneoff.run_env`",
            code="no-migrations",
        )

    def schemas() -> Sequence[str]:
        if not project.metadata:
            return ()
        tables = load_object(project.metadata).tables.values()
        return sorted({table.schema for table in tables if table.schema})

    migrations = Migrations(scripts, config.root, database, lock, schemas)
    try:
        yield migrations
    finally:
        await migrations.close()
