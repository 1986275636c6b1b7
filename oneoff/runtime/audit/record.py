"""Write the record of a run: a row that is committed before the work and closed after it.

It is committed before the work begins, so that a rollback of the work can't remove it. During the
run, a connection holds a lock named after the run. The server releases the lock when the process
dies. A later run can therefore distinguish dead runs from slow ones, and closes the rows of dead
runs as `abandoned`.

On PostgreSQL, the work of most runs goes on with the connection that has written the row, and the
transaction of the work holds the lock: a second connection would take as many round trips as the
record itself. From the end of the work on, only this module can use that connection.

If the work is one transaction, its last statement closes the row. So the row shows that the run
succeeded if and only if the work is committed, even if the answer to COMMIT is lost.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, cast, func, insert, literal_column, select, update
from sqlalchemy.exc import SQLAlchemyError

from oneoff.config.environment import Facts
from oneoff.core.errors import CommandError, ReadOnlyViolation, Unavailable
from oneoff.core.outcome import Ending, Outcome, Status
from oneoff.core.policy import Mode
from oneoff.database.asyncpg_adapter import driver_of, set_autocommit
from oneoff.database.errors import is_connection_loss, translate_error, unwritable_error
from oneoff.database.locks.acquire import hold_both, hold_for_transaction, hold_from_begin, is_free
from oneoff.database.roles import WORK
from oneoff.database.schema.facts import read_facts
from oneoff.database.tables import batches, runs
from oneoff.utils.text import bounded

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Update
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.core.outcome import Call
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.database.locks.base import HeldLock
    from oneoff.utils.redaction import Redactor

# A run commits its row shortly before it takes its lock. Until then its lock is free although the
# run is alive.
LOCK_DELAY = timedelta(seconds=30)
"""Age of a record from which a free lock proves that a run on another machine is dead."""
CLOSE_TIME = 5.0
"""Seconds after which the row is closed on a new connection."""
SETTLE_TIME = 10.0
"""Seconds to wait for the end of a transaction whose connection was lost during COMMIT."""
LARGEST_BIGINT = 2**63 - 1
"""The largest number that the column can store; larger counts of rows are stored as this."""

# The work may change `search_path`, so its last statement names the schema of the table.
_SCHEMA: ColumnElement[str] = literal_column(
    "(SELECT nspname::text FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace"
    " WHERE pg_class.oid = oneoff_runs.tableoid)"
)


class RunRecord:
    """Writes the row of one run.

    Attributes:
        may_exist: Whether the row is or may be committed, so that it must be closed.
        lock: The command's lock, if the run needs it and it was free; the end of the record
            releases it.
    """

    def __init__(
        self,
        database: Database,
        connection: AsyncConnection,
        redactor: Redactor,
        *,
        lends: bool,
    ) -> None:
        self._redactor = redactor
        self._lends = lends
        self._open_runs: tuple[Mapping[str, Any], ...] | None = None
        self._database = database
        self._connection = connection
        self._run_id = ""
        self._schema: str | None = None  # of the framework's tables; SQLite has none
        self._schema_ready = False
        self.may_exist = False
        self.lock: HeldLock | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, database: Database, redactor: Redactor, *, lend_to: Mode | None = None
    ) -> AsyncIterator[RunRecord]:
        """Open the connection, which stays open until the run ends.

        Args:
            database: The database of the run.
            redactor: Masks secrets in the row.
            lend_to: The mode of the work that goes on with the connection; None if none does.
        """
        postgresql = database.url.dialect == "postgresql"
        lends = postgresql and lend_to is not None
        role, guarded = (WORK, lend_to is not Mode.COMMIT) if lends else ("audit", None)
        async with database.connect(role, guarded=guarded, reads_facts=postgresql) as connection:
            if postgresql:
                # Each statement of the record commits itself.
                await set_autocommit(connection, on=True)
            yield cls(database, connection, redactor, lends=lends)

    @property
    def can_record(self) -> bool:
        """Whether the framework's tables are ready for the row."""
        return self._schema_ready

    async def read_facts(self) -> Facts:
        """Return the database's facts about itself; leaves no transaction open."""
        facts = await read_facts(self._connection, self._database.url)
        await self._connection.rollback()
        self._schema_ready = facts.schema_ready
        self._open_runs = facts.open_runs if self._database.url.dialect == "postgresql" else None
        return facts

    async def insert_row(self, run: Run, call: Call, *, code_version: str) -> None:
        """Close the rows of dead runs, commit the row of this one, and take this run's lock.

        Raises:
            CommandError: The row can't be written.
        """
        self._run_id = run.id
        committed = False
        # On SQLite, a transaction that reads first and writes later fails if another one has
        # written in between. BEGIN IMMEDIATE waits for the write lock instead.
        await self._connection.execution_options(oneoff_begin="BEGIN IMMEDIATE")
        try:
            await close_abandoned(self._connection, self._database, self._open_runs)
            row = self._redactor.data(_row(run, call, self._redactor, code_version=code_version))
            # Set this before, because a signal may arrive while the row is committed, and then it
            # must be closed. Closing a row that was not committed changes nothing.
            self.may_exist = True
            await self._insert(row)
            await self._connection.commit()
            committed = True
            await self._show_life(f"run:{run.id}", "" if run.dry_run else call.command.lock)
        except Exception as exc:
            self.may_exist = committed or is_connection_loss(exc)
            raise _not_recorded(exc) from exc

    async def close_within(self, connection: AsyncConnection, outcome: Outcome) -> None:
        """Close the row in the transaction of the work, which is then committed.

        Raises:
            CommandError: The row could not be closed, so the work must be rolled back.
        """
        schema = {"schema_translate_map": {None: self._schema}} if self._schema else {}
        try:
            await connection.execute(self._closing(outcome), execution_options=schema)
        except Exception as exc:
            raise _not_recorded(exc) from exc

    async def read_ending(self) -> Ending:
        """Return how the transaction of `close_within` ended, after its connection was lost.

        Until the server has ended that transaction, the transaction holds a lock on the row. The
        query waits for it, for up to `SETTLE_TIME`.
        """
        locked = select(runs.c.status).where(runs.c.id == self._run_id).with_for_update()
        try:
            async with asyncio.timeout(SETTLE_TIME):
                await self._database.wait_until_up(SETTLE_TIME)
                async with self._database.connect("audit") as connection:
                    status = await connection.scalar(locked)
        except (CommandError, SQLAlchemyError, OSError):  # OSError includes TimeoutError
            return Ending.UNKNOWN
        if status in (Status.SUCCEEDED.value, Status.UNCHANGED.value):
            return Ending.COMMITTED
        return Ending.ROLLED_BACK if status else Ending.UNKNOWN

    async def close_row(self, outcome: Outcome, note: str = "") -> int:
        """Close the row, on a new connection if the old one is broken.

        Args:
            outcome: How the run ended.
            note: Added to the message.

        Returns:
            The number of rows that the record has, which includes those that batches saved.

        Raises:
            CommandError: The row could not be closed; a later run will mark it as abandoned.
        """
        statement = self._closing(outcome, note).returning(runs.c.rows)
        try:
            # The work may have left its connection waiting for a server that does not answer.
            async with asyncio.timeout(CLOSE_TIME):
                if self._lends:
                    await self._take_back()
                rows = await self._connection.scalar(statement)
                await self._connection.commit()
        except Exception:  # noqa: BLE001 - after any failure, a new connection is tried once
            rows = await self._close_on_new_connection(statement)
        return rows or 0

    async def _show_life(self, key: str, lock: str) -> None:
        """Hold the lock of this run until its end, or let the transaction of the work hold it."""
        connection, database = self._connection, self._database
        if database.url.dialect == "postgresql":
            await set_autocommit(connection, on=False)
        if self._lends:
            await hold_from_begin(connection, database, key)
            database.lend(connection)
        elif lock and database.url.dialect == "postgresql":
            self.lock = await hold_both(connection, database, key, lock)
        else:
            await hold_for_transaction(connection, database, key)

    async def _take_back(self) -> None:
        """Let only this task use the connection, and end what a task of the work began on it."""
        from oneoff.database.guards.postgresql import keep_for_this_task

        keep_for_this_task(await driver_of(self._connection))
        await self._connection.rollback()
        await set_autocommit(self._connection, on=True)

    async def _insert(self, row: dict[str, Any]) -> None:
        statement = insert(runs).values(row)
        if self._database.url.dialect == "postgresql":
            self._schema = await self._connection.scalar(statement.returning(_SCHEMA))
        else:
            await self._connection.execute(statement)

    def _closing(self, outcome: Outcome, note: str = "") -> Update:
        message = "; ".join(filter(None, (outcome.message, note)))
        return (
            update(runs)
            .where(runs.c.id == self._run_id)
            .values(
                status=outcome.status.value,
                exit_code=int(outcome.exit_code),
                rows=func.coalesce(_rows_saved(self._run_id), min(outcome.rows, LARGEST_BIGINT)),
                message=bounded(self._redactor.text(message)),
                finished_at=datetime.now(UTC),
                duration_ms=outcome.duration_ms,
            )
        )

    async def _close_on_new_connection(self, statement: Any) -> int | None:
        # Drivers raise various errors when they close a broken connection.
        with suppress(SQLAlchemyError, ValueError, OSError):
            await self._connection.invalidate()
        try:
            async with self._database.transaction("audit") as connection:
                rows: int | None = await connection.scalar(statement)
        except Exception as exc:
            raise _not_recorded(exc) from exc
        return rows


async def close_abandoned(
    connection: AsyncConnection,
    database: Database,
    open_runs: Iterable[Mapping[str, Any]] | None = None,
) -> None:
    """Close the rows of dead runs as `abandoned`, with the rows that their batches saved.

    Args:
        connection: A connection to the database of these runs.
        database: This database.
        open_runs: The rows that are not closed, from `read_facts`; by default they are read.
    """
    found: Iterable[Mapping[Any, Any]] | None = open_runs
    if found is None:
        query = select(runs).where(runs.c.status == Status.STARTED.value)
        found = (await connection.execute(query)).mappings().all()
    for row in found:
        run_id = row["id"]
        if not _can_be_judged(row) or not await is_free(connection, database, f"run:{run_id}"):
            continue
        # The run may have closed its row since it was read, or its transaction, which has closed
        # the row, may still be open in the server: the row stays as it is then.
        still_open = (
            select(runs.c.id)
            .where(runs.c.id == run_id, runs.c.status == Status.STARTED.value)
            .with_for_update(skip_locked=True)
        )
        await connection.execute(
            update(runs)
            .where(runs.c.id.in_(still_open))
            .values(
                status=Status.ABANDONED.value,
                finished_at=datetime.now(UTC),
                rows=_rows_saved(run_id),
            )
        )


def _rows_saved(run_id: str) -> ColumnElement[Any]:
    """Return an expression for the rows that a run's batches saved; NULL without batches.

    When another run takes over a batch, the rows that this run saved of it are added to the `rows`
    of this run's record. They are included here.
    """
    query = select(func.sum(batches.c.run_rows)).where(batches.c.run_id == run_id)
    saved = cast(query.scalar_subquery(), BigInteger)  # PostgreSQL's sum of bigint is numeric
    return func.coalesce(saved + func.coalesce(runs.c.rows, 0), runs.c.rows)


def _can_be_judged(row: Mapping[Any, Any]) -> bool:
    """Return whether a free lock proves that this run is dead, and did not just start."""
    if row["host"] == socket.gethostname():
        # On this machine the process itself can be checked, at any age of the record.
        return bool(process_started(row["pid"]) != row["process_started"])
    started = row["started_at"]
    if isinstance(started, str):
        started = datetime.fromisoformat(started)
    return bool(datetime.now(UTC) - started > LOCK_DELAY)


def process_started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; empty if it does not exist.

    The system reuses process ids, but an id with the same start belongs to the same process.
    """
    try:
        # Field 22; the name in field 2 may hold spaces and parentheses.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:  # the process exists, but belongs to another user
        return "alive"
    return "alive"


def _row(run: Run, call: Call, redactor: Redactor, *, code_version: str) -> dict[str, Any]:
    return {
        "id": run.id,
        "command": run.command,
        # Each word is masked before JSON escapes its quotes, because an escaped secret would not be
        # recognised. The JSON text is masked again with the row.
        "argv": json.dumps(redactor.data(call.argv), ensure_ascii=False),
        "access": call.command.access.value,
        "dry_run": run.dry_run,
        "status": Status.STARTED.value,
        "operator": run.operator.name,
        "operator_source": run.operator.source,
        "reason": run.reason,
        "ticket": run.ticket,
        "break_glass": call.options.break_glass,
        "environment": run.environment,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": process_started(os.getpid()),
        "code_version": code_version,
        "started_at": run.started_at,
        "parent": run.parent,
    }


def _not_recorded(exc: Exception) -> CommandError:
    known = translate_error(exc)
    if isinstance(known, ReadOnlyViolation):
        # This connection has no guard.
        return unwritable_error(exc)
    return known or Unavailable(
        f"the run can't be recorded: {type(exc).__name__}",
        why="a run is not started without a record",
        try_="python manage.py system health",
        code="audit-unavailable",
    )
