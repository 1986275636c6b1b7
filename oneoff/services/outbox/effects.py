"""Put effects outside the database into the outbox, in the transaction that they belong to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

PAUSES = (0, 60, 300, 1_800, 7_200)
"""Seconds, since the effect was put, after which it is tried for the first, second, ... time. After
the last attempt it is given up, and waits for an operator."""
TIMEOUT = 30.0
"""Seconds that a handler may take for one effect."""

Handler = Callable[..., Awaitable[None]]
"""Does one effect: `async def promoted(effect, session, mailer)`. It asks by parameter name for
`effect`, for `session`, and for resources of the project. What it writes in the session is
committed if, and only if, the effect counts as delivered. `Unavailable` says that a service is
down, which is no failure of the effect: the attempt does not count, and no other effect of its kind
is tried in this delivery."""
Transaction = Callable[[], AbstractAsyncContextManager["AsyncSession"]]
"""Opens a session in a transaction, which the end of the block commits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One effect that is to be delivered.

    Attributes:
        id: Its number; the same when it is delivered again, so that the receiver can recognize it.
        kind: What to do: "mail.welcome".
        payload: What `put_effect` was given.
        attempt: 1 for the first.
    """

    id: int
    kind: str
    payload: Mapping[str, Any]
    attempt: int


async def put_effect(session: AsyncSession, kind: str, payload: Mapping[str, Any]) -> None:
    """Put an effect into the outbox; it is committed or rolled back with the transaction's rows.

    It is delivered later, and at least once: a crash between the delivery and its record delivers
    it again, so the receiver must accept it twice.

    Args:
        session: The one that `process` or `handle` got, or a request's.
        kind: Which handler delivers it: "mail.welcome".
        payload: What the handler needs, as JSON; no secrets, since it is stored as it is.
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
