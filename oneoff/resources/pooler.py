"""Whether a connection leads through a pooler, which may give each transaction another server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.resources.database_errors import lost

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


async def leads_through_pooler(connection: AsyncConnection) -> bool:
    """Ask the server who it is, on a connection to PostgreSQL without an open transaction.

    Raises:
        Unavailable: The connection broke.
    """
    driver: Any = (await connection.get_raw_connection()).driver_connection
    try:
        # Past SQLAlchemy, which might keep the statement prepared.
        server = await driver.fetchval("SELECT pg_backend_pid()")
    except Exception as exc:
        raise lost() from exc  # nothing else can be wrong with such a question
    # A pooler tells each client a process id of its own making.
    return bool(server != driver.get_server_pid())
