"""Ways to write past the session."""

import os
from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

INSERT = text("INSERT INTO item (name) VALUES ('aside')")


async def write_through(engine) -> None:
    """Write by this engine, and commit."""
    async with engine.begin() as connection:
        await connection.execute(INSERT)


async def write_in_spite() -> None:
    """Write by an engine of one's own, and hide the error."""
    engine = create_async_engine(os.environ["ASIDE_URL"])
    with suppress(SQLAlchemyError):
        await write_through(engine)
    await engine.dispose()
