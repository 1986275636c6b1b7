"""Find and end the sessions of others on a PostgreSQL database that is about to be replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.core.errors import TemporaryError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.backups.checked import Target

# The run's own connections have its id in their names: see `Database`.
_OTHERS = """
FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'
    AND pid <> pg_backend_pid() AND split_part(application_name, '/', 3) <> $2
"""
_LIST = f"""
SELECT concat_ws(' ', usename, nullif(application_name, ''), host(client_addr)) {_OTHERS}
ORDER BY backend_start
"""
_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = $1 AND backend_type = 'client backend'
    AND CASE split_part(application_name, '/', 3) WHEN $2 THEN $3::bool ELSE $4::bool END
"""
_SHOWN = 5


async def check_sessions(target: Target) -> None:
    """Check that nobody else uses the database, or end the sessions if that was asked for.

    Raises:
        TemporaryError: Somebody does.
    """
    if target.end_sessions:
        return
    async with target.database.autocommit("restore") as connection:
        found = await list_sessions(connection, target)
    if found:
        raise in_use(target, found)


async def refusal_by_sessions(target: Target) -> list[str]:
    """Return a warning that a real run would be refused; none if nobody uses the database."""
    try:
        if target.database.url.dialect == "postgresql":
            await check_sessions(target)
    except TemporaryError as exc:
        return [f"a real run would be refused: {exc.message}"]
    return []


async def list_sessions(connection: AsyncConnection, target: Target) -> list[str]:
    """Return a description of each session of others."""
    of = (target.database.url.database, target.database.run_id)
    return list((await connection.exec_driver_sql(_LIST, of)).scalars())


async def end_sessions(connection: AsyncConnection, target: Target, *, own: bool) -> None:
    """End the sessions of others on the database, if that was asked for.

    Args:
        connection: A connection to the server.
        target: The database.
        own: Whether to end those of this run too.
    """
    of = (target.database.url.database, target.database.run_id, own, target.end_sessions)
    await connection.exec_driver_sql(_END, of)


def in_use(target: Target, sessions: list[str], why: str = "") -> TemporaryError:
    """Return the error for a database that others use."""
    shown = ", ".join(sessions[:_SHOWN]) + (", ..." if sessions[_SHOWN:] else "")
    return TemporaryError(
        f"{target.database.url.database} is in use" + (f" by {shown}" if shown else ""),
        why=why or "its content can't be replaced while others use it; nothing was changed",
        try_=("stop the application, and run the command again", "or add --end-sessions"),
        code="database-in-use",
    )
