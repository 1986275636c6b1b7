"""The asyncpg connection of `Database`, which needs fewer round trips than asyncpg's own.

With asyncpg, a statement takes two round trips: one to prepare it, one to run it. A statement
without parameters and without rows can be sent as text, in one. Texts can be joined.
"""

from __future__ import annotations

import re
from typing import Any

import asyncpg

_RETURNS_NO_ROWS = re.compile(
    r"\s*(?:SAVEPOINT|RELEASE|ROLLBACK\s+TO|SET|CREATE|ALTER|DROP|COMMENT|GRANT|REVOKE|LOCK|DECLARE"
    r"|(?:INSERT|UPDATE|DELETE)\b(?!.*\bRETURNING\b))\b",
    re.IGNORECASE | re.DOTALL,
)


class RunConnection(asyncpg.Connection):  # type: ignore[misc]
    """An asyncpg connection.

    Attributes:
        limits: Statements, each with its `;`, that are sent in one message with each BEGIN.
        after_begin: Statements, each with its `;`, that are sent in one message with the next
            BEGIN.
        begun_with: The server's answer to the last one of them, as "SELECT 1".
        server_process: Process id of the server process and whether it counts changed rows, as
            `read_facts` read them on this connection; None if it did not.
    """

    limits: str = ""
    after_begin: str = ""
    begun_with: str = ""
    server_process: tuple[int, bool] | None = None

    async def execute(self, query: str, *args: Any, **options: Any) -> str:
        """Run statements; the first ones of a transaction are sent together with its BEGIN."""
        if (self.limits or self.after_begin) and query.startswith("BEGIN"):
            query, self.after_begin = f"{query} {self.limits}{self.after_begin}", ""
            self.begun_with = await super().execute(query, **options)
            return self.begun_with
        status: str = await super().execute(query, *args, **options)
        return status

    async def prepare(self, query: str, **options: Any) -> Any:
        """Prepare a statement; for SQLAlchemy, which passes a name, a text can do instead."""
        text = query.rstrip("; \n")
        # A text may hold several statements, a prepared statement may not.
        simple = _RETURNS_NO_ROWS.match(text) and ";" not in text and "$" not in text
        if "name" in options and (simple or not text):
            return _Text(self, text)
        return await super().prepare(query, **options)


class _Text:
    """A statement that is sent as text; it has the methods of a prepared one that SQLAlchemy uses.

    An empty one is not sent at all.
    """

    def __init__(self, connection: RunConnection, sql: str) -> None:
        self._connection, self._sql = connection, sql
        self._status = ""

    def get_attributes(self) -> tuple[Any, ...]:
        return ()

    async def fetch(self) -> list[Any]:
        if self._sql:
            self._status = await self._connection.execute(self._sql)
        return []

    def get_statusmsg(self) -> str:
        return self._status
