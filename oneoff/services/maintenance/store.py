"""The rows of maintenance windows: the truth about whether one is open."""

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
    """A window, and what only operators are told of it.

    Attributes:
        window: What every process sees.
        reason: Why, as said with `--reason`.
        operator: Who began it.
        run_id: Of the run that began it.
    """

    window: Window
    reason: str
    operator: str
    run_id: str

    def facts(self) -> dict[str, Any]:
        """Return it as the commands show it."""
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
"""Code of the error of a database that has no table of windows yet."""

NO_FACTS: dict[str, Any] = dict.fromkeys(
    ("since", "expires", "message", "reason", "operator", "run_id", "window_id")
)
"""What `Record.facts` would be without a window."""


async def find_open(connection: Connection, now: datetime) -> Record | None:
    """Return the window that is open, if one is.

    Args:
        connection: To ask.
        now: A window that ended by itself before is not open, though its row is.
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
    """Store a new window; the caller has made sure that none is open."""
    ended_by_themselves = maintenance.c.ended_at.is_(None)
    await connection.execute(
        update(maintenance).where(ended_by_themselves).values(ended_at=maintenance.c.expires_at)
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
    """Store another end or message of the window that is open."""
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
    """Return the window that is open now, asked over a connection of its own.

    A new connection costs 6 ms on PostgreSQL. Keeping one would find out only now what broke
    long ago, and occupy a connection for each process that hardly ever asks.

    Raises:
        CommandError: The database can't be reached, or has no such table yet (`not-migrated`).
        SQLAlchemyError: It did not answer as it should.
    """
    # Not the name of the lock: whoever wants that one waits for connections named after it.
    async with database.connect("maintenance-reader") as connection:
        try:
            return await find_open(connection, datetime.now(UTC))
        except DBAPIError as exc:
            raise (translate_error(exc) or exc) from exc


async def read_window(database: Database) -> Window | None:
    """Return the window that is open now; a database that has not been migrated has none.

    Raises what `read_record` raises otherwise.
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
