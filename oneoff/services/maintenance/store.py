"""Read and write the database rows of maintenance windows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.exc import DBAPIError

from oneoff.core.errors import ConfigurationError
from oneoff.database.errors import translate_error
from oneoff.database.tables import maintenance
from oneoff.services.maintenance.window import Window

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from oneoff.database.engine import Database

    Connection = AsyncConnection | AsyncSession


class Record(NamedTuple):
    """A window, and the facts about it that only operators see.

    Attributes:
        window: The facts that every process gets.
        reason: The text of `--reason`.
        operator: The name of the operator who opened it.
        run_id: The id of the run that opened it.
    """

    window: Window
    reason: str
    operator: str
    run_id: str

    def facts(self) -> dict[str, Any]:
        """Return the data that the commands show."""
        return {
            "since": self.window.started_at,
            "expires": self.window.expires_at,
            "message": self.window.message or None,
            "reason": self.reason or None,
            "operator": self.operator,
            "run_id": self.run_id,
            "window_id": self.window.id,
        }


NOT_MIGRATED = "not-migrated"
"""Error code of a database that has no table of windows yet."""

NO_FACTS: dict[str, Any] = dict.fromkeys(
    ("since", "expires", "message", "reason", "operator", "run_id", "window_id")
)
"""The same keys as `Record.facts`, for when no window is open."""


async def find_open(connection: Connection, now: datetime) -> Record | None:
    """Return the record of the open window, or None.

    Args:
        connection: The connection or session to query.
        now: The current time. A window that has expired is not open, even if its row has no end.
    """
    open_ones = (
        select(maintenance)
        .where(maintenance.c.ended_at.is_(None))
        .order_by(maintenance.c.started_at.desc())
        .limit(1)
    )
    row = (await connection.execute(open_ones)).one_or_none()
    if row is None:
        return None
    window = Window(row.id, row.started_at, row.expires_at, row.message)
    record = Record(window, row.reason, row.operator, row.run_id)
    return record if window.is_open(now) else None


async def begin(connection: Connection, record: Record) -> None:
    """Store a new window. The caller has checked that none is open."""
    # No window is open, so a row without an end is a window that expired. Its end is its expiry.
    expired = maintenance.c.ended_at.is_(None)
    await connection.execute(
        update(maintenance).where(expired).values(ended_at=maintenance.c.expires_at)
    )
    await connection.execute(
        insert(maintenance).values(
            **record.window._asdict(),
            reason=record.reason,
            operator=record.operator,
            run_id=record.run_id,
        )
    )


async def change(connection: Connection, window: Window) -> None:
    """Store a new end or message of the open window."""
    await connection.execute(
        update(maintenance)
        .where(maintenance.c.id == window.id)
        .values(expires_at=window.expires_at, message=window.message)
    )


async def end(connection: Connection, now: datetime) -> None:
    """Store that no window is open any more."""
    still_open = maintenance.c.ended_at.is_(None)
    await connection.execute(update(maintenance).where(still_open).values(ended_at=now))


async def read_record(database: Database) -> Record | None:
    """Return the record of the window that is open now, read over a new connection.

    A new connection takes 6 ms on PostgreSQL. A permanent one would occupy a server connection for
    each process, and a broken one would be noticed only at the next reading.

    Raises:
        CommandError: The database can't be reached, or has no such table yet (`not-migrated`).
        SQLAlchemyError: The database answered with another error.
    """
    # The role must differ from the name of the lock "maintenance". A run that takes over a lock
    # waits for active connections that have the lock's name.
    async with database.connect("maintenance-reader") as connection:
        try:
            return await find_open(connection, datetime.now(UTC))
        except DBAPIError as exc:
            raise (translate_error(exc) or exc) from exc


async def read_window(database: Database) -> Window | None:
    """Return the window that is open now; None also if the database is not migrated yet.

    Raises the other errors of `read_record`.
    """
    if not database.url.exists():
        return None
    try:
        record = await read_record(database)
    except ConfigurationError as exc:
        if exc.code != NOT_MIGRATED:
            raise
        return None
    return record.window if record else None
