"""Begin and end the transaction of a run: the resources `work` and `session`.

A command asks for `session`, whose provider asks for `work`: `open_work` begins the transaction
before the command gets the session. At the end the executor calls `WorkTransaction.commit` or
`finish_dry_run`; if it calls neither, the transaction is rolled back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from oneoff.core.errors import CommandError, ReadOnlyViolation
from oneoff.core.outcome import Ending
from oneoff.core.policy import Mode
from oneoff.database.roles import WORK
from oneoff.database.row_counts import RowCounter, make_counter

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.core.outcome import RowCounts
    from oneoff.database.engine import Database
    from oneoff.database.guards.base import Guard
    from oneoff.database.locks.base import HeldLock


class WorkTransaction:
    """One transaction, which the executor alone ends.

    `session.commit()` and `session.rollback()` act on a savepoint inside it, in every mode, so
    that a service which commits works the same in a command, in its preview, and in a test.

    Attributes:
        connection: Holds the transaction.
        session: What commands get; its objects don't expire.
        ending: How the transaction ends, as far as it is known: rolled back, until COMMIT is sent.
        partial: Whether a preview did only a part of the work; then `changes` returns no rows.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        counter: RowCounter | None,
        guard: Guard | None,
    ) -> None:
        self.connection = connection
        self.session = AsyncSession(
            connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        )
        self._counter = counter
        self._guard = guard
        self._changes: dict[str, RowCounts] = {}
        self._rolled_back: dict[str, int] = {}
        self.partial = False
        self.ending = Ending.ROLLED_BACK

    @property
    def uncounted(self) -> str:
        """Why `changes` has no numbers; empty when it has."""
        return self._counter.reason if self._counter else "a read-only run changes no rows"

    def changes(self) -> dict[str, RowCounts]:
        """Return the rows changed, by table, as counted when the work ended."""
        return {} if self.partial else dict(self._changes)

    def exclude_rolled_back(self, table: str, inserted: int) -> None:
        """Leave out rows that a savepoint rolled back, because PostgreSQL counts them too.

        Args:
            table: As `changes` calls it.
            inserted: How many.
        """
        self._rolled_back[table] = self._rolled_back.get(table, 0) + inserted

    def violation(self) -> CommandError | None:
        """Return the error for what the guard refused, also if the command swallowed it."""
        return self._guard.violation() if self._guard else None

    def unsaved_changes(self) -> ReadOnlyViolation | None:
        """Return the error for a read-only run whose session holds changes that are not written."""
        changed = [*self.session.new, *self.session.dirty, *self.session.deleted]
        if not changed:
            return None
        kinds = ", ".join(sorted({type(item).__name__ for item in changed}))
        return ReadOnlyViolation(
            f"the session holds changes that are not written ({kinds}), but the run only reads",
            why="leaving them out in silence would look as if they had been saved",
            try_="declare access = Access.WRITE; in a shell: the same with --write",
        )

    async def commit(self) -> dict[str, RowCounts]:
        """Write what the session still holds, count, and commit.

        Raises:
            Unavailable: The connection broke in the commit: nobody knows whether it was made.
        """
        if self._guard is not None:
            message = "only the work of a real run is committed"
            raise RuntimeError(message)
        await self._end_session()
        await self._commit()
        return self.changes()

    async def finish_dry_run(self) -> dict[str, RowCounts]:
        """Write what the session holds, count, raise what a commit would raise, and roll back.

        Raises:
            DryRunViolation: The command tried to end the transaction, whatever it did with the
                error.
        """
        if self._guard is None or self._counter is None:
            message = "only a dry run can be finished as one"
            raise RuntimeError(message)
        await self._guard.check()
        await self._end_session()
        await self._guard.check_constraints()
        await self.rollback()
        return self.changes()

    async def rollback(self) -> None:
        """Undo everything; harmless when it is done already."""
        if self._guard is not None:
            await self._guard.release()
        await self.session.close()
        await self.connection.rollback()

    async def begin(self) -> None:
        """Send BEGIN now, so that the first thing a command sends can't commit itself."""
        if self._counter is not None:
            await self._counter.start()
        if self._guard is not None:
            await self._guard.arm()

    async def _end_session(self) -> None:
        await self.session.commit()
        if self._counter is not None:
            self._changes = await self._counter.changes()
        for table, inserted in self._rolled_back.items():
            counts = self._changes.pop(table, None)
            if counts and any(left := counts._replace(inserted=counts.inserted - inserted)):
                self._changes[table] = left

    async def _commit(self) -> None:
        from oneoff.database.errors import commit_in_doubt, is_connection_loss

        self.ending = Ending.UNKNOWN
        try:
            await self.connection.commit()
        except (SQLAlchemyError, OSError) as exc:
            if is_connection_loss(exc):
                raise commit_in_doubt() from exc
            self.ending = Ending.ROLLED_BACK
            raise
        self.ending = Ending.COMMITTED


@asynccontextmanager
async def begin_work(
    database: Database, mode: Mode, *, role: str = WORK
) -> AsyncIterator[WorkTransaction]:
    """Open a connection and begin the transaction of a run; leaving it rolls back.

    It protects this transaction alone. What the code inside does through other engines is
    protected by `oneoff.runtime.other_connections`, which the executor enters.

    Args:
        database: Where.
        mode: Whether it may be committed, is rolled back, or must not write at all.
        role: Second part of `application_name`: the name of the lock the run holds.

    Raises:
        ReadOnlyViolation: Something tried to end a read-only transaction, whatever the code inside
            did with the error.
        DryRunViolation: The same in a dry run.
    """
    guarded = mode is not Mode.COMMIT
    writes = mode is not Mode.READ_ONLY
    async with database.connect(role, immediate=writes, guarded=guarded) as connection:
        counter = make_counter(connection) if writes else None
        guard = _make_guard(connection, mode) if guarded else None
        work = WorkTransaction(connection, counter, guard)
        await work.begin()
        async with _rolling_back(work):
            yield work


def _make_guard(connection: AsyncConnection, mode: Mode) -> Guard:
    """Return the guard for this kind of database; a real run doesn't pay for these imports."""
    if connection.dialect.name == "postgresql":
        from oneoff.database.guards.postgresql import PostgresGuard

        return PostgresGuard(connection, mode)
    from oneoff.database.guards.sqlite import SQLiteGuard

    return SQLiteGuard(connection, mode)


@asynccontextmanager
async def _rolling_back(work: WorkTransaction) -> AsyncIterator[None]:
    """Roll back at the end of the block, and raise what was refused, also if it was swallowed."""
    try:
        yield
    except BaseException as exc:
        # A second error, of a connection that is broken, would hide the first one.
        with suppress(SQLAlchemyError, OSError, CommandError):
            await work.rollback()
        violation = work.violation()
        if violation is None or violation is exc or not isinstance(exc, Exception):
            raise
        raise violation from exc
    await work.rollback()
    violation = work.violation()
    if violation is not None:
        raise violation


@asynccontextmanager
async def open_work(
    database: Database, mode: Mode, lock: HeldLock | None
) -> AsyncIterator[WorkTransaction]:
    """Give the resource `work`, which the executor ends."""
    role = lock.key if lock is not None else WORK
    async with begin_work(database, mode, role=role) as work:
        yield work


@asynccontextmanager
async def open_session(work: WorkTransaction) -> AsyncIterator[AsyncSession]:
    """Give the resource `session`."""
    yield work.session
