"""Handlers of effects for tests: what they did stands in the tally, and in a list."""

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
"""Numbers of the effects that were done in this process."""


async def count(effect: Effect, session: AsyncSession) -> None:
    """Count a row of the tally, and fail afterwards if the payload says how."""
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
