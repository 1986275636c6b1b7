"""Record the inputs of a shell in the database, next to the run's row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.utils.redaction import Redactor


class InputRecord:
    """Writes each input of one run before it is executed, on a separate connection.

    SQLite allows one writer at a time, and the shell's own transaction may be that writer. So on
    SQLite, `flush` writes all inputs at the end. If the process is killed before, they are only in
    the log stream.

    Args:
        database: The database with the run's row.
        run_id: The run that the inputs belong to. If it has no row, they are not recorded.
        redactor: Masks secrets in the inputs.
    """

    def __init__(self, database: Database, run_id: str, redactor: Redactor) -> None:
        self._database, self._run_id, self._redactor = database, run_id, redactor
        self._count = 0
        self._waiting: list[dict[str, Any]] = []
        self._recorded: bool | None = None

    async def add(self, source: str) -> int:
        """Record an input and return its number, from 1.

        Raises:
            CommandError: The database can't be reached. The caller must not run the input.
        """
        self._count += 1
        self._waiting.append(
            {
                "run_id": self._run_id,
                "number": self._count,
                "at": datetime.now(UTC),
                "source": self._redactor.text(source),
            }
        )
        if self._database.url.dialect != "sqlite":
            await self.flush()
        return self._count

    async def flush(self) -> None:
        """Write the inputs that are not written yet."""
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        from sqlalchemy import insert

        from oneoff.database.tables import shell_inputs
        from oneoff.runtime.audit.chain import add_event

        database = self._database
        is_sqlite = database.url.dialect == "sqlite"
        open_connection = database.transaction if is_sqlite else database.autocommit
        async with open_connection("audit") as connection:
            if self._recorded is None:
                self._recorded = bool(await is_recorded(connection, database, self._run_id))
            for row in rows if self._recorded else ():
                await add_event(connection, "input", row, change=insert(shell_inputs).values(row))


async def is_recorded(connection: AsyncConnection, database: Database, run_id: str) -> bool | None:
    """Return whether the run has a row, or None if there is no table for it.

    On a standby server, or with a role that can't write, a run has none.
    """
    from sqlalchemy import select

    from oneoff.database.schema.facts import read_facts
    from oneoff.database.tables import runs

    if not (await read_facts(connection, database.url)).schema_ready:
        return None
    return bool(await connection.scalar(select(runs.c.id).where(runs.c.id == run_id)))
