"""Begin and end the transaction of a run: the resources `work` and `session`.

A command asks for `session`, whose provider asks for `work`. `open_work` begins the transaction
before the command gets the session. At the end, the executor calls `WorkTransaction.commit` or
`finish_dry_run`. If it calls neither, the transaction is rolled back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from operator import add
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from oneoff.core.errors import CommandError, ReadOnlyViolation
from oneoff.core.outcome import Ending, RowCounts
from oneoff.core.policy import Mode
from oneoff.database.asyncpg_adapter import begin
from oneoff.database.project_engine import new_session
from oneoff.database.roles import WORK, lock_role
from oneoff.database.row_counts import RowCounter, make_counter, subtract_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from oneoff.core.outcome import Closing
    from oneoff.database.engine import Database
    from oneoff.database.guards.base import Guard
    from oneoff.database.locks.base import HeldLock


class WorkTransaction:
    """A transaction that only the executor ends.

    In every mode, `session.commit()` and `session.rollback()` act on a savepoint within it. So a
    service that commits works the same in a command, in its dry run, and in a test.

    Attributes:
        connection: The connection of the transaction.
        session: The session for commands; its objects don't expire.
        ending: How the transaction ends, as far as it is known: rolled back until COMMIT is sent.
        partial: Whether a dry run did only a part of the work; then `changes` returns no rows.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        counter: RowCounter | None,
        guard: Guard | None,
    ) -> None:
        self.connection = connection
        self.session = new_session(connection, join_transaction_mode="create_savepoint")
        self._counter = counter
        self._guard = guard
        self._changes: dict[str, RowCounts] = {}
        self._rolled_back: dict[str, RowCounts] = {}
        self.partial = False
        self.ending = Ending.ROLLED_BACK

    @property
    def uncounted(self) -> str:
        """Why `changes` has no counts; empty if it has."""
        return self._counter.reason if self._counter else "a read-only run changes no rows"

    def changes(self) -> dict[str, RowCounts]:
        """Return the rows that were changed, by table, as counted at the end of the work."""
        return {} if self.partial else dict(self._changes)

    async def counts(self) -> dict[str, RowCounts]:
        """Return the rows that were changed so far, by table, also those that were rolled back."""
        return await self._counter.changes() if self._counter else {}

    def exclude_rolled_back(self, counts: Mapping[str, RowCounts]) -> None:
        """Subtract rows that a savepoint rolled back, because PostgreSQL counts them.

        Args:
            counts: The numbers of these rows, by table.
        """
        for table, rolled_back in counts.items():
            so_far = self._rolled_back.get(table, RowCounts())
            self._rolled_back[table] = RowCounts(*map(add, so_far, rolled_back))

    def violation(self) -> CommandError | None:
        """Return the error of the guard's first refusal, even if the command swallowed it."""
        return self._guard.violation() if self._guard else None

    def unsaved_changes(self) -> ReadOnlyViolation | None:
        """Return the error for a read-only run whose session contains unwritten changes."""
        changed = [*self.session.new, *self.session.dirty, *self.session.deleted]
        if not changed:
            return None
        kinds = ", ".join(sorted({type(item).__name__ for item in changed}))
        return ReadOnlyViolation(
            f"the session contains changes that were not written ({kinds}), but the run only reads",
            why="without this error, they would seem to be saved",
            try_="declare access = Access.WRITE; for the shell, use --write",
        )

    async def commit(
        self,
        closing: Closing | None = None,
        check: Callable[[Mapping[str, RowCounts], str], None] | None = None,
    ) -> dict[str, RowCounts]:
        """Write the pending changes of the session, count the changed rows, and commit.

        Args:
            closing: How the transaction closes the record of the run; None if it does not.
            check: Called before COMMIT with `changes` and `uncounted`; it may raise an error.

        Raises:
            Unavailable: The answer to COMMIT was lost, and the work was rolled back.
            CommandError: It was lost, and how the work ended is not known (`commit-unknown`).
        """
        if self._guard is not None:
            message = "only the work of a real run is committed"
            raise RuntimeError(message)
        await self._end_session()
        if check is not None:
            check(self.changes(), self.uncounted)
        if closing is not None:
            await closing.close(self.connection)
        await self._commit(closing)
        return self.changes()

    async def finish_dry_run(self) -> dict[str, RowCounts]:
        """Write the session's changes, count rows, raise the errors of a commit, and roll back.

        Raises:
            DryRunViolation: The command tried to end the transaction, even if it swallowed the
                error.
        """
        if self._guard is None or self._counter is None:
            message = "only a dry run can be finished as one"
            raise RuntimeError(message)
        # Check before anything is written: without the transaction, it would be saved.
        await self._guard.check()
        await self._end_session()
        # Deferred constraints can be checked only after all pending changes are written.
        await self._guard.check_constraints()
        await self.rollback()
        return self.changes()

    async def rollback(self) -> None:
        """Roll back the transaction; do nothing if that is already done."""
        if self._guard is not None:
            await self._guard.release()
        # In this order, the session has no savepoint left to roll back.
        await self.connection.rollback()
        await self.session.close()

    async def begin(self) -> None:
        """Send BEGIN now, so that the command's first statement can't commit itself."""
        if self.connection.dialect.name == "postgresql":
            await (self._guard.arm() if self._guard else begin(self.connection))
        if self._counter is not None:
            await self._counter.start()
        # On SQLite the counter comes first: it creates its triggers outside of the transaction,
        # with a script whose COMMIT the guard would refuse.
        if self._guard is not None and self.connection.dialect.name == "sqlite":
            await self._guard.arm()

    async def _end_session(self) -> None:
        # This writes pending changes and releases the session's savepoint. The transaction is open.
        await self.session.commit()
        if self._counter is not None:
            self._changes = await self._counter.changes()
        self._changes = subtract_counts(self._changes, self._rolled_back)

    async def _commit(self, closing: Closing | None) -> None:
        from oneoff.database.errors import commit_lost, is_connection_loss

        # From here until the answer arrives, the server may or may not have committed.
        self.ending = Ending.UNKNOWN
        try:
            await self.connection.commit()
        except (SQLAlchemyError, OSError) as exc:
            if not is_connection_loss(exc):
                self.ending = Ending.ROLLED_BACK
                raise
            if closing is not None:
                self.ending = await closing.settle()
            if self.ending is not Ending.COMMITTED:
                raise commit_lost(self.ending, recorded=closing is not None) from exc
        self.ending = Ending.COMMITTED


@asynccontextmanager
async def begin_work(
    database: Database,
    mode: Mode,
    *,
    role: str = WORK,
    lent: AsyncConnection | None = None,
) -> AsyncIterator[WorkTransaction]:
    """Open a connection and begin the transaction of a run; leaving the block rolls it back.

    It protects only this transaction. `oneoff.runtime.other_connections`, which the executor
    enters, protects against writes through other engines.

    Args:
        database: The database to connect to.
        mode: Whether the transaction may be committed, is rolled back, or must not write.
        role: Second part of `application_name`: `lock_role` of the lock that the run holds,
            if any.
        lent: A connection that somebody else closes; by default one is opened.

    Raises:
        ReadOnlyViolation: The block tried to end a read-only transaction, even if it swallowed the
            error.
        DryRunViolation: The same in a dry run.
    """
    guarded = mode is not Mode.COMMIT
    writes = mode is not Mode.READ_ONLY
    opening = database.connect(role, immediate=writes, guarded=guarded)
    async with nullcontext(lent) if lent else opening as connection:
        counter = make_counter(connection) if writes else None
        guard = _make_guard(connection, mode) if guarded else None
        work = WorkTransaction(connection, counter, guard)
        await work.begin()
        async with _rolling_back(work):
            yield work


def _make_guard(connection: AsyncConnection, mode: Mode) -> Guard:
    """Return the guard for this kind of database; runs that commit don't import these modules."""
    if connection.dialect.name == "postgresql":
        from oneoff.database.guards.postgresql import PostgresGuard

        return PostgresGuard(connection, mode)
    from oneoff.database.guards.sqlite import SQLiteGuard

    return SQLiteGuard(connection, mode)


@asynccontextmanager
async def _rolling_back(work: WorkTransaction) -> AsyncIterator[None]:
    """Roll back at the end of the block, and raise the error of a refusal even if swallowed."""
    try:
        yield
    except BaseException as exc:
        # An error of the rollback, on a broken connection, would hide the first error.
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
    """Open the resource `work`, which the executor ends."""
    role = lock_role(lock.key) if lock is not None else WORK
    async with begin_work(database, mode, role=role, lent=database.take_lent()) as work:
        yield work


@asynccontextmanager
async def open_session(work: WorkTransaction) -> AsyncIterator[AsyncSession]:
    """Open the resource `session`."""
    yield work.session
