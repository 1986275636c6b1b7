"""Functions that write without the session."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

INSERT = text("INSERT INTO item (name) VALUES ('aside')")


async def write_through(engine) -> None:
    """Write with this engine, and commit."""
    async with engine.begin() as connection:
        await connection.execute(INSERT)


async def write_and_hide_error() -> None:
    """Write with a separate engine, and hide the error."""
    engine = create_async_engine(os.environ["ASIDE_URL"])
    with suppress(SQLAlchemyError):
        await write_through(engine)
    await engine.dispose()


@asynccontextmanager
async def open_scribble() -> AsyncIterator[None]:
    """Provide a resource that writes when it is opened, or when it is closed."""
    if os.environ["ASIDE_WHEN"] == "open":
        await write_and_hide_error()
    yield None
    if os.environ["ASIDE_WHEN"] == "fail":
        raise ValueError("can't be closed")
    if os.environ["ASIDE_WHEN"] == "close":
        await write_and_hide_error()
    if os.environ["ASIDE_WHEN"] == "hang":
        Path(os.environ["ASIDE_MARKER"]).touch()  # noqa: ASYNC240 - takes no time
        await asyncio.Event().wait()


class Ledger:
    """Inserts rows.

    Args:
        session: The session of the run.
    """

    def __init__(self, session) -> None:
        self._session = session

    async def add(self) -> None:
        """Insert a row."""
        await self._session.execute(text("INSERT INTO deed DEFAULT VALUES"))


@asynccontextmanager
async def open_ledger(session) -> AsyncIterator[Ledger]:
    """Provide a resource that reads when it is closed."""
    yield Ledger(session)
    await session.execute(text("SELECT 1"))
