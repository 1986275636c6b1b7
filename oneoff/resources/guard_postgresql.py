"""The guard on PostgreSQL, in two layers.

The driver's connection refuses every statement that would end the transaction, and every statement
after it ended all the same. Behind it stands the server: an open cursor makes any COMMIT fail,
whoever sends it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from oneoff.errors import CommandError
from oneoff.mode import Mode
from oneoff.resources.guard import Guard, ended, refusal

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# A commit computes what is left of a cursor WITH HOLD, and this one can't be computed: the commit
# fails. Cheaper than the deferred constraint of a temporary table (0.4 against 1.6 ms), needs no
# privilege, and doesn't fire at a command's own SET CONSTRAINTS ALL IMMEDIATE. random() keeps the
# server from computing it at once.
_GUARD = """
DECLARE oneoff_dry_run NO SCROLL CURSOR WITH HOLD FOR
SELECT ('oneoff: a dry run can only be rolled back ' || random())::int
"""
# Without the cursor it is an error; with it, nothing is computed.
_IS_GUARDED = "MOVE 0 FROM oneoff_dry_run"

_SUSPECT = re.compile(r"\b(?:commit|rollback|abort|end|prepare\s+transaction)\b", re.IGNORECASE)
# Compiled when there is a suspect: compiling them costs more than a reading command's guard.
_OPAQUE = r"(?s)(?P<dollar>\$\w*\$).*?(?P=dollar)|'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/"
_ENDS = (
    r"(?i)\s*(?P<how>commit|abort|end|prepare\s+transaction"
    r"|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b"
)
_FUNCTION_BODY = r"(?i)\bbegin\s+atomic\b"

_TAKES_SQL = (
    "execute executemany fetch fetchval fetchrow fetchmany prepare cursor copy_from_query".split()
)
_TAKES_TABLE = "copy_from_table copy_to_table copy_records_to_table".split()


class GuardedConnection(asyncpg.Connection):  # type: ignore[misc]
    """An asyncpg connection whose transaction can be held fast.

    Attributes:
        held: The mode it is held in; None while it may be ended.
        refused: The first attempt to end it.
    """

    held: Mode | None = None
    refused: CommandError | None = None

    def check(self, sql: str) -> None:
        """Refuse what would end the transaction, and what comes after it ended."""
        if self.held is None:
            return
        how = statement_that_ends(sql)
        if how:
            error = refusal(self.held, how)
        elif not self.is_in_transaction():
            error = ended(self.held)
        else:
            return
        self.refused = self.refused or error
        raise error


def statement_that_ends(sql: str) -> str:
    """Return the statement in `sql` that would end the transaction, or nothing.

    The driver's simple protocol takes several statements in one text.
    """
    if not _SUSPECT.search(sql):
        return ""
    for statement in re.sub(_OPAQUE, " ", sql).split(";"):
        found = re.match(_ENDS, statement)
        # END also ends the body of a function in standard SQL.
        if found and not (found["how"].lower() == "end" and re.search(_FUNCTION_BODY, sql)):
            return " ".join(found["how"].upper().split())
    return ""


def _checked(name: str, *, takes_sql: bool) -> Callable[..., Any]:
    original = getattr(asyncpg.Connection, name)

    @wraps(original)
    def method(self: GuardedConnection, *args: Any, **kwargs: Any) -> Any:
        self.check(kwargs.get("query") or args[0] if takes_sql else "")
        return original(self, *args, **kwargs)

    return method


for _name in (*_TAKES_SQL, *_TAKES_TABLE):
    if hasattr(asyncpg.Connection, _name):  # fetchmany is new in 0.30
        setattr(GuardedConnection, _name, _checked(_name, takes_sql=_name in _TAKES_SQL))


class PostgresGuard(Guard):
    """Holds a transaction of a `GuardedConnection`."""

    def __init__(self, connection: AsyncConnection, mode: Mode) -> None:
        super().__init__(connection, mode)
        self._driver: GuardedConnection | None = None

    async def arm(self) -> None:
        """Begin, and let neither the server nor the driver end it."""
        if self.mode is Mode.READ_ONLY:
            await self.connection.execution_options(postgresql_readonly=True)
            # After a first query the server refuses SET TRANSACTION READ WRITE.
            await self.connection.exec_driver_sql("SELECT 1")
        raw = await self.connection.get_raw_connection()
        self._driver = cast("GuardedConnection", raw.driver_connection)
        if self.mode is Mode.ROLLBACK:
            await self._driver.execute(_GUARD)
        self._driver.held = self.mode

    async def release(self) -> None:
        """Let the driver end the transaction; only a rollback can."""
        if self._driver is not None:
            self._driver.held = None

    def violation(self) -> CommandError | None:
        """Return the first refusal."""
        return self._driver.refused if self._driver else None

    async def check(self) -> None:
        """Look for the cursor: it lives and dies with the transaction."""
        violation = self.violation()
        if violation is not None:
            raise violation
        if self._driver is None or not self._driver.is_in_transaction():
            raise ended(self.mode)
        try:
            await self._driver.execute(_IS_GUARDED)
        except asyncpg.InvalidCursorNameError:
            raise ended(self.mode) from None

    async def check_constraints(self) -> None:
        """Check now what is deferred to the commit."""
        if self._driver is not None:
            await self._driver.execute("SET CONSTRAINTS ALL IMMEDIATE")
