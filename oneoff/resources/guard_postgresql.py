"""The guard on PostgreSQL, in two layers.

The driver's connection refuses every statement that would end the transaction, and every statement
after it ended all the same. Behind it stands the server: a pair of temporary tables that makes any
COMMIT fail, whoever sends it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from oneoff.errors import CommandError, ConfigurationError
from oneoff.mode import Mode
from oneoff.resources.guard import Guard, ended, refusal

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# At COMMIT, ON COMMIT DELETE ROWS truncates the first table, which the second one's foreign key
# forbids: "unsupported ON COMMIT and foreign key combination". Unlike a deferred constraint it
# doesn't fire at a command's own SET CONSTRAINTS ALL IMMEDIATE, and there is no row to delete.
_GUARD = """
CREATE TEMPORARY TABLE oneoff_dry_run_target (id int PRIMARY KEY) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE oneoff_dry_run (id int REFERENCES oneoff_dry_run_target)
"""
_IS_GUARDED = "SELECT to_regclass('pg_temp.oneoff_dry_run') IS NOT NULL"
_INSUFFICIENT_PRIVILEGE = "42501"

_SUSPECT = re.compile(r"\b(?:commit|rollback|abort|end|prepare\s+transaction)\b", re.IGNORECASE)
_OPAQUE = re.compile(
    r"(?P<dollar>\$\w*\$).*?(?P=dollar)|'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", re.DOTALL
)
_ENDS = re.compile(
    r"\s*(?P<how>commit|abort|end|prepare\s+transaction"
    r"|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b",
    re.IGNORECASE,
)
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

    The driver's simple protocol takes several statements in one text. END alone is looked for
    only at its beginning, because it also ends the body of a function (BEGIN ATOMIC ... END).
    """
    if not _SUSPECT.search(sql):
        return ""
    for position, statement in enumerate(_OPAQUE.sub(" ", sql).split(";")):
        found = _ENDS.match(statement)
        if found and (position == 0 or found["how"].lower() != "end"):
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
            await self._create_guard(self._driver)
        self._driver.held = self.mode

    async def release(self) -> None:
        """Let the driver end the transaction; only a rollback can."""
        if self._driver is not None:
            self._driver.held = None

    def violation(self) -> CommandError | None:
        """Return the first refusal."""
        return self._driver.refused if self._driver else None

    async def check(self) -> None:
        """Look for the guard tables: they live and die with the transaction."""
        violation = self.violation()
        if violation is not None:
            raise violation
        if self._driver is None or not self._driver.is_in_transaction():
            raise ended(self.mode)
        if not (await self.connection.exec_driver_sql(_IS_GUARDED)).scalar_one():
            raise ended(self.mode)

    async def check_constraints(self) -> None:
        """Check now what is deferred to the commit."""
        await self.connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")

    async def _create_guard(self, driver: GuardedConnection) -> None:
        try:
            await driver.execute(_GUARD)
        except asyncpg.InsufficientPrivilegeError as exc:
            raise ConfigurationError(
                "a dry run is not possible: the database's role may not create temporary tables",
                why="a temporary table is what makes the server refuse a COMMIT",
                try_="GRANT TEMPORARY ON DATABASE ... TO ...",
                code="dry-run-unguarded",
            ) from exc
