"""Run revisions on the database one by one, up or down, each in its own transaction.

The transaction of a revision also stores when it was applied and by which run. The command limits
how long it waits for a lock. After that, other sessions get their turn, and it is tried again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, event
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util import await_only

from oneoff.core.errors import CommandError, ConfigurationError, TemporaryError
from oneoff.database import sqlstates
from oneoff.database.errors import is_connection_loss
from oneoff.database.guards.sql_statements import ending_statement, split_statements
from oneoff.database.roles import WORK, lock_role
from oneoff.database.tables import applied_revisions
from oneoff.services.migrations.alembic_context import (
    exclusive_alembic,
    run_online,
    run_online_together,
)
from oneoff.services.migrations.env_file import execute_env_file
from oneoff.services.migrations.errors import (
    message_of,
    no_retry_of_rollback,
    own_sqlstate,
    step_error,
)
from oneoff.services.migrations.history import Heads, History
from oneoff.services.migrations.invalid_indexes import drop_invalid
from oneoff.services.migrations.lost_commit import find_ending, lost_commit
from oneoff.services.migrations.revision_connection import (
    check_foreign_keys,
    commits_itself,
    dangling_rows,
    prepare_connection,
)

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.database.locks.base import HeldLock
    from oneoff.services.migrations.env_file import Place

BeforeStep = Callable[
    ["RevisionStep", Sequence["RevisionStep"], Sequence["RevisionStep"]], Awaitable[None]
]
"""Takes a step, the steps that are done, and those after it."""

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between the attempts of a revision that did not get its locks."""
_NO_LOCK = (sqlstates.LOCK_NOT_AVAILABLE, sqlstates.DEADLOCK_DETECTED)


class RevisionRunner:
    """Runs revisions on one connection.

    Attributes:
        done: The steps that are committed, in order.
        replaced: The invalid indexes that were dropped before they were created again.
        before_step: Awaited before each attempt of a step.
    """

    # One attempt of a step, as Alembic and SQLAlchemy call back:
    #   begin (_on_begin) -> the revision's statements -> version row (_on_apply) -> commit
    # (_on_commit). A commit before _on_apply means that the revision left its transaction, as
    # `autocommit_block` does. Then a rollback can't undo all of it, so it is not tried again.

    def __init__(
        self,
        database: Database,
        connection: AsyncConnection,
        history: History,
        lock: HeldLock | None,
    ) -> None:
        self.done: list[RevisionStep] = []
        self.replaced: list[str] = []
        self.before_step: BeforeStep | None = None
        self._connection = connection
        self._history = history
        self._lock = lock
        self._database = database
        self._pooled = False
        self._planned: list[RevisionStep] = []
        self._step: RevisionStep | None = None
        self._stored = False
        self._together = False
        self._committed_early = False
        self._dangling: Counter[tuple[str, str]] = Counter()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, database: Database, history: History, lock: HeldLock | None
    ) -> AsyncIterator[RevisionRunner]:
        """Connect. The lock finds its holder's backends by the connection's application name."""
        role = lock_role(lock.key) if lock else WORK
        async with exclusive_alembic(), database.connect(role, immediate=True) as connection:
            runner = cls(database, connection, history, lock)
            runner._pooled = await prepare_connection(connection)
            driven = connection.sync_connection
            event.listen(driven, "commit", runner._on_commit)
            event.listen(driven, "begin", runner._on_begin)
            event.listen(driven, "before_cursor_execute", runner._on_statement, retval=True)
            yield runner

    async def run(
        self,
        place: Place,
        plan: Sequence[RevisionStep],
        current: tuple[str, ...],
        on_step: Callable[[RevisionStep], object],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Run the steps in order. The lock is checked before each step.

        Args:
            place: Where the connections of the run lead.
            plan: The steps.
            current: The revisions that the database has now.
            on_step: Called after each step.
            sleep: Pauses before a step is tried again.

        Raises:
            LockLost: The lock was lost. Committed steps stay.
            TemporaryError: A revision did not get its locks in any attempt, or another program
                changed the revisions of the database. Committed steps stay.
            CommandError: A revision failed and was rolled back. Committed steps stay.
        """
        await execute_env_file(
            self._history, place, lambda: self.run_steps(plan, current, on_step, sleep)
        )

    async def run_steps(
        self,
        plan: Sequence[RevisionStep],
        current: tuple[str, ...],
        on_step: Callable[[RevisionStep], object] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Run the steps as `run` does, but with the options in `History.env` instead of env.py."""
        self._planned = list(plan)
        self._refuse_pooler()
        heads = Heads(current)
        for step in plan:
            attempt = partial(self._attempt, step=step, expected=set(heads.heads))
            with no_retry_of_rollback(self.done):
                await self._try(attempt, sleep, step)
            heads.update_to_step(step)
            self.done.append(step)
            on_step(step)

    async def run_together(
        self,
        place: Place,
        plan: Sequence[RevisionStep],
        first: Callable[[AsyncConnection], Awaitable[None]],
    ) -> None:
        """Await `first` and run the steps, all in one transaction.

        A revision that leaves its transaction commits what was done before it.

        Raises:
            LockLost, TemporaryError, CommandError: As for `run`.
        """
        self._planned, self._together = list(plan), True
        self._refuse_pooler()

        def attempt(connection: Connection) -> None:
            self._step, self._stored, self._committed_early = None, False, False
            run_online_together(
                connection,
                self._history,
                lambda: await_only(first(self._connection)),
                self._all_steps,
                on_version_apply=self._on_apply,
            )
            self.done = list(plan)

        await execute_env_file(self._history, place, lambda: self._try(attempt, asyncio.sleep))

    def _all_steps(self, _heads: object, _context: object) -> Iterator[RevisionStep]:
        for step in self._planned:
            if self._lock is not None:
                await_only(self._lock.check())
            self._step, self._stored = step, False
            yield step

    async def _try(
        self,
        attempt: Callable[[Connection], None],
        sleep: Callable[[float], Awaitable[None]],
        step: RevisionStep | None = None,
    ) -> None:
        """Attempt one step, or all steps together, until the locks of the tables are free."""
        pauses = iter(PAUSES)
        while True:
            if step is not None and self.before_step is not None:
                await self.before_step(step, self.done, self._after(step))
            if self._lock is not None:
                await self._lock.check()
            try:
                return await self._connection.run_sync(attempt)
            except Exception as exc:
                await _roll_back(self._connection)
                if self._stored and self._step is not None and is_connection_loss(exc):
                    raise await self._lost_commit(exc, self._step) from exc
                pause = self._pause_or_raise(exc, pauses)
            await sleep(pause)

    def _pause_or_raise(self, exc: Exception, pauses: Iterator[float]) -> float:
        """Return the seconds until the next attempt. Raise the error if there is none."""
        if isinstance(exc, TemporaryError):  # of the lock or of the version table
            raise exc
        if own_sqlstate(exc) not in _NO_LOCK or self._committed_early:
            raise self._failure(exc) from exc
        pause = next(pauses, None)
        if pause is None:
            raise self._no_locks(exc) from exc
        return pause

    def _attempt(self, connection: Connection, step: RevisionStep, expected: set[str]) -> None:
        self._step, self._stored, self._committed_early = None, False, False

        # Alembic calls this with the revisions that the database has now, and runs the steps that
        # it returns. It returns one, so that each step is a separate attempt.
        def one_step(heads: tuple[str, ...], _context: MigrationContext) -> list[RevisionStep]:
            if set(heads) != expected:
                raise _changed_meanwhile(heads, expected)
            self._step = step
            self._dangling = dangling_rows(connection)
            return [step]

        run_online(connection, self._history, one_step, on_version_apply=self._on_apply)

    def _on_apply(self, *, ctx: MigrationContext, step: Any, **_: Any) -> None:
        """Store when the revision was applied, in the transaction that applied it.

        Alembic calls this after it has written its own version row.
        """
        connection = ctx.connection
        assert connection is not None  # noqa: S101 - only offline runs have none
        if connection.dialect.name == "sqlite":
            check_foreign_keys(connection, self._dangling)
        insert = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
        revision = step.up_revision_id
        if step.is_upgrade:
            row = {
                "revision": revision,
                "applied_at": datetime.now(UTC),
                "run_id": self._database.run_id,
            }
            new = insert(applied_revisions).values(row)
            # `alembic downgrade` leaves the row of an earlier time.
            connection.execute(new.on_conflict_do_update(index_elements=["revision"], set_=row))
        else:
            connection.execute(
                delete(applied_revisions).where(applied_revisions.c.revision == revision)
            )
        self._stored = True

    def _on_commit(self, _connection: Connection) -> None:
        if self._step is not None and not self._stored:
            self._committed_early = True
            if self._together:
                self.done = self._planned[: self._planned.index(self._step)]

    def _on_begin(self, connection: Connection) -> None:
        if commits_itself(connection) and self._pooled and self._step is not None:
            raise self._needs_direct_url(self._step)

    def _on_statement(
        self,
        connection: Connection,
        _cursor: object,
        text: str,
        parameters: Any,
        context: Any,
        _many: bool,  # noqa: FBT001 - SQLAlchemy passes it
    ) -> tuple[str, Any]:
        """Run the statements of a text one by one: psycopg takes several, our drivers don't."""
        if self._step is None:
            return text, parameters
        if ending_statement(text):
            self._committed_early = True
        if len(split_statements(text) if ";" in text else ()) < 2:  # noqa: PLR2004 - several
            self._replace_invalid(connection, text)
            return text, parameters
        if parameters and context.compiled is not None:
            # A parameter belongs to one of the statements. So write its value into the text, as
            # a dry run does.
            whole, literal = context.compiled.statement, {"literal_binds": True}
            text = str(whole.compile(dialect=connection.dialect, compile_kwargs=literal))
            parameters = ()
        *first, last = split_statements(text)
        for statement in first:
            connection.exec_driver_sql(statement)
        self._replace_invalid(connection, last)
        return last, parameters

    def _replace_invalid(self, connection: Connection, sql: str) -> None:
        if commits_itself(connection) and (index := drop_invalid(connection, sql)):
            self.replaced.append(index)

    def _refuse_pooler(self) -> None:
        # Such a revision would fail after a part of its work. Refuse it before the first one runs.
        for step in self._planned if self._pooled else ():
            if "autocommit_block" in Path(step.revision.path).read_text(encoding="utf-8"):
                raise self._needs_direct_url(step)

    def _needs_direct_url(self, step: RevisionStep) -> ConfigurationError:
        revision = self._history.describe(step.revision.revision)
        return ConfigurationError(
            f"revision {revision.id} ({revision.message}) leaves its transaction, which does not "
            "work through a connection pooler",
            why="the pooler may send each statement to another server connection",
            try_="set MIGRATION_DATABASE_URL to a URL that connects to the database directly",
            code="pooler-without-direct-url",
        )

    def _failure(self, exc: Exception) -> CommandError:
        return step_error(
            exc,
            self._history,
            self._step,
            done=self.done,
            left=self._after(self._step),
            partly=self._committed_early,
            together=self._together,
        )

    async def _lost_commit(self, exc: Exception, step: RevisionStep) -> CommandError:
        """Return the error for a step of which only the answer to COMMIT was missing."""
        return lost_commit(
            exc,
            self._history,
            step,
            committed=await find_ending(self._database, self._history, step),
            done=self.done,
            left=self._after(step),
            together=self._together,
        )

    def _after(self, step: RevisionStep | None) -> list[RevisionStep]:
        return [one for one in self._planned if one not in (*self.done, step)]

    def _no_locks(self, exc: Exception) -> TemporaryError:
        step = self._history.describe(self._step.revision.revision) if self._step else None
        again = "rollback" if self._step and not self._step.is_upgrade else "migrate"
        return TemporaryError(
            f"revision {step.id if step else '?'} did not get its locks in {len(PAUSES) + 1} tries",
            why=f"{message_of(exc)}; it was rolled back each time, and applied revisions stay",
            try_=(
                "end sessions that block it: select * from pg_stat_activity order by xact_start",
                f"python manage.py {again}",
            ),
            code="lock-timeout",
        )


def _changed_meanwhile(found: Iterable[str], expected: Iterable[str]) -> TemporaryError:
    return TemporaryError(
        f"the database is at {', '.join(sorted(found)) or 'no revision'}, and was expected at "
        f"{', '.join(sorted(expected)) or 'no revision'}",
        why="another program changed its revisions meanwhile",
        try_="python manage.py db status",
        code="revisions-changed",
    )


async def _roll_back(connection: AsyncConnection) -> None:
    # If the connection is lost, the server has rolled back already.
    with suppress(SQLAlchemyError, OSError):
        await connection.rollback()
