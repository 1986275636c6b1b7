"""Whether a database is there yet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from oneoff.errors import Unavailable

if TYPE_CHECKING:
    from oneoff.resources.database import Database
    from oneoff.urls import DatabaseURL

_PAUSE = 0.5


def exists(url: DatabaseURL) -> bool:
    """Return whether connecting would find a database; a SQLite file is made by connecting."""
    return url.dialect != "sqlite" or Path(url.database).exists()


async def wait_until_up(database: Database, seconds: float) -> None:
    """Wait for a database that is still starting.

    Args:
        database: Which one.
        seconds: How long; 0 leaves the first try to whoever connects next.

    Raises:
        Unavailable: It is not up after that time.
    """
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        try:
            async with database.connect("wait"):
                return
        except Unavailable:
            if monotonic() + _PAUSE >= deadline:
                raise
        await asyncio.sleep(_PAUSE)
