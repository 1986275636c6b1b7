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
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from oneoff.config.environment import Facts
from oneoff.core.errors import CommandError, ReadOnlyViolation, Refused, Unavailable
from oneoff.core.outcome import Ending, Outcome, Status
from oneoff.core.policy import Mode
from oneoff.database.asyncpg_adapter import driver_of, set_autocommit
from oneoff.database.errors import is_connection_loss, translate_error, unwritable_error
from oneoff.database.locks.acquire import hold_both, hold_for_transaction, hold_from_begin
from oneoff.database.roles import WORK
from oneoff.database.schema.facts import read_facts
from oneoff.database.tables import runs
from oneoff.runtime.audit.abandoned import close_abandoned, process_started, rows_saved
from oneoff.runtime.audit.chain import add_event
from oneoff.utils.text import bounded

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.core.outcome import Call
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.database.locks.base import HeldLock
    from oneoff.runtime.approvals.use import Use
    from oneoff.runtime.audit.chain import Event
    from oneoff.utils.redaction import Redactor

CLOSE_TIME = 5.0
"""Seconds after which the row is closed on a new connection."""
SETTLE_TIME = 10.0
"""Seconds to wait for the end of a transaction whose connection was lost during COMMIT."""
LARGEST_BIGINT = 2**63 - 1
"""The largest number that the column can store; larger counts of rows are stored as this."""


class RunRecord:
    """Writes the row of one run.

    Attributes:
        may_exist: Whether the row is or may be committed, so that it must be closed.
        lock: The command's lock, if the run needs it and it was free; the end of the record
            releases it.
        event: The newest event of this run in the chain of audit events.
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
        self._schema_ready = False
        self.may_exist = False
        self.lock: HeldLock | None = None
        self.event: Event | None = None

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

    async def insert_row(
        self, run: Run, call: Call, *, code_version: str, approval: Use | None = None
    ) -> None:
        """Close the rows of dead runs, commit the row of this one, and take this run's lock.

        Args:
            run: The facts of the run.
            call: Its command and options.
            code_version: The version of the running code.
            approval: Used in the transaction that commits the row; None if the run needs none.

        Raises:
            Refused: Another run has used the approval.
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
            facts = {**row, "run_id": run.id}
            del facts["id"]
            if approval is not None:
                await approval.burn(self._connection, run.id, add_event)
            self.event = await add_event(
                self._connection, "intended", facts, change=insert(runs).values(row)
            )
            await self._connection.commit()
            committed = True
            await self._show_life(f"run:{run.id}", "" if run.dry_run else call.command.lock)
        except Refused:
            self.may_exist = False
            raise
        except Exception as exc:
            self.may_exist = committed or is_connection_loss(exc)
            raise _not_recorded(exc) from exc

    async def close_within(
        self, connection: AsyncConnection, outcome: Outcome, data: Mapping[str, Any]
    ) -> None:
        """Close the row in the transaction of the work, which is then committed.

        Args:
            connection: The connection of the work.
            outcome: How the run ends if it is committed.
            data: From `data_to_keep`.

        Raises:
            CommandError: The row could not be closed, so the work must be rolled back.
        """
        # The work may have changed `search_path`.
        schema = self.event.schema if self.event else ""
        try:
            self.event = await self._close(connection, outcome, data, schema=schema)
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

    async def close_row(self, outcome: Outcome, data: Mapping[str, Any], note: str = "") -> int:
        """Close the row, on a new connection if the old one is broken.

        Args:
            outcome: How the run ended.
            data: From `data_to_keep`.
            note: Added to the message.

        Returns:
            The number of rows that the record has, which includes those that batches saved.

        Raises:
            CommandError: The row could not be closed; a later run will mark it as abandoned.
        """
        try:
            # The work may have left its connection waiting for a server that does not answer.
            async with asyncio.timeout(CLOSE_TIME):
                if self._lends:
                    await self._take_back()
                self.event = await self._close(self._connection, outcome, data, note)
                await self._connection.commit()
        except Exception:  # noqa: BLE001 - after any failure, a new connection is tried once
            self.event = await self._close_on_new_connection(outcome, data, note)
        return (self.event.facts["rows"] if self.event else 0) or 0

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

    async def _close(
        self,
        connection: AsyncConnection,
        outcome: Outcome,
        data: Mapping[str, Any],
        note: str = "",
        *,
        schema: str = "",
    ) -> Event | None:
        message = "; ".join(filter(None, (outcome.message, note)))
        facts = {
            "status": outcome.status.value,
            "exit_code": int(outcome.exit_code),
            "message": bounded(self._redactor.text(message)),
            "finished_at": datetime.now(UTC),
            "duration_ms": outcome.duration_ms,
        }
        rows = func.coalesce(rows_saved(self._run_id), min(outcome.rows, LARGEST_BIGINT))
        change = update(runs).where(runs.c.id == self._run_id).values(**facts, rows=rows)
        facts |= {**data, "run_id": self._run_id}
        return await add_event(
            connection, "closed", facts, change=change, computed="rows", schema=schema
        )

    async def _close_on_new_connection(
        self, outcome: Outcome, data: Mapping[str, Any], note: str
    ) -> Event | None:
        # Drivers raise various errors when they close a broken connection.
        with suppress(SQLAlchemyError, ValueError, OSError):
            await self._connection.invalidate()
        try:
            async with self._database.transaction("audit") as connection:
                return await self._close(connection, outcome, data, note)
        except Exception as exc:
            raise _not_recorded(exc) from exc


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
        "operator_source": run.operator.known_from,
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
