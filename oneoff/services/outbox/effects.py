"""Effects outside the database: put down in the transaction that asks for them, delivered later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

PAUSES = (0, 60, 300, 1_800, 7_200)
"""Seconds after which an effect is tried for the first, second, ... time, since it was put down.
After the last it is given up, and waits for somebody to look at it."""
TIMEOUT = 30.0
"""Seconds a handler has for one effect."""

Handler = Callable[..., Awaitable[None]]
"""Does one effect: `async def promoted(effect, session, mailer)`. It asks by parameter name for
`effect`, for `session`, and for what the project provides. What it writes in the session is
committed exactly if the effect counts as delivered. `Unavailable` says that a service is down, for
which the effect can do nothing: it is no attempt, and no other of its kind is tried now."""
Transaction = Callable[[], AbstractAsyncContextManager["AsyncSession"]]
"""Opens a session in a transaction, which is committed at the end of the block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One effect that is to be done.

    Attributes:
        id: Its number: the same whenever it is delivered again, so what receives it can tell.
        kind: What to do: "mail.welcome".
        payload: What `put_effect` was given.
        attempt: 1 for the first.
    """

    id: int
    kind: str
    payload: Mapping[str, Any]
    attempt: int


async def put_effect(session: AsyncSession, kind: str, payload: Mapping[str, Any]) -> None:
    """Put an effect down: it is there exactly if the transaction's rows are.

    It is delivered later, and at least once: a crash between the delivery and its record delivers
    it again, so what receives it must bear that.

    Args:
        session: The one that `process` or `handle` got, or a request's.
        kind: What to do, for whoever delivers: "mail.welcome".
        payload: What it needs, as JSON knows it; secrets don't belong here.
    """
    import json
    from datetime import UTC, datetime

    from sqlalchemy import insert

    from oneoff.database.tables import outbox
    from oneoff.services.batch.transactions import current_batch

    row = {
        "batch_id": current_batch.get(),
        "kind": kind,
        "payload": json.dumps(payload, ensure_ascii=False),
        "created_at": datetime.now(UTC),
    }
    await session.execute(insert(outbox).values(row))
