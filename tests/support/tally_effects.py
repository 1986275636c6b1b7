"""Handlers of effects for tests; they count in the tally and append to a list."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from sqlalchemy import update

from oneoff import TemporaryError, Unavailable
from tests.support.tally_project import Tally

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.services.outbox.effects import Effect

seen: list[int] = []
"""Ids of the effects that were delivered in this process."""


async def count(effect: Effect, session: AsyncSession) -> None:
    """Count a row of the tally, then fail in the way that the payload names."""
    row = effect.payload["row"]
    await session.execute(update(Tally).where(Tally.id == row).values(n=Tally.n + 1))
    match effect.payload.get("fails"):
        case "always":
            message = "row has no address, password=hunter2"
            raise ValueError(message)
        case "once" if effect.attempt == 1:
            message = "come again"
            raise TemporaryError(message)
        case "down":
            message = "the mail server is away"
            raise Unavailable(message)
        case "hangs":
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(20)
        case "dies":
            os.kill(os.getpid(), signal.SIGKILL)
    seen.append(effect.id)


HANDLERS = {"tally.count": count, "tally.other": count}
