"""What was typed into a shell, kept beside the run's row in the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.utils.redaction import Redactor


class InputRecord:
    """Writes each input of one run before it is run, on a connection of its own.

    On SQLite, where one writer keeps all others out and the shell may be it, the inputs wait for
    `flush`: a process that is killed leaves them in the log stream alone.

    Args:
        database: Where.
        run_id: The run they belong to; where it has no row itself, nothing is kept.
        redactor: Masks secrets in them.
    """

    def __init__(self, database: Database, run_id: str, redactor: Redactor) -> None:
        self._database, self._run_id, self._redactor = database, run_id, redactor
        self._count = 0
        self._waiting: list[dict[str, Any]] = []
        self._recorded: bool | None = None

    async def add(self, source: str) -> int:
        """Keep an input, and return its number.

        Raises:
            CommandError: The database can't be reached; then the input must not be run either.
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
        """Write what waits."""
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        from sqlalchemy import insert

        from oneoff.database.tables import shell_inputs

        async with self._database.autocommit("audit") as connection:
            if self._recorded is None:
                self._recorded = await self._is_recorded(connection)
            if self._recorded:
                await connection.execute(insert(shell_inputs), rows)

    async def _is_recorded(self, connection: AsyncConnection) -> bool:
        """Return whether the run has a row; on a standby server it has not, and goes on."""
        from sqlalchemy import select

        from oneoff.database.schema.facts import read_facts
        from oneoff.database.tables import runs

        if not (await read_facts(connection, self._database.url)).schema_ready:
            return False
        return bool(await connection.scalar(select(runs.c.id).where(runs.c.id == self._run_id)))
