"""Store effects outside the database in the outbox, in the transaction that they belong to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

PAUSES = (0, 60, 300, 1_800, 7_200)
"""Seconds between storing an effect and its first, second, ... attempt. After the last attempt it
is given up: not tried again until an operator asks."""
TIMEOUT = 30.0
"""Seconds that a handler may take for one effect."""

Handler = Callable[..., Awaitable[None]]
"""Executes one effect: `async def promoted(effect, session, mailer)`. It requests `effect`,
`session` and resources of the project by parameter name. Its writes in the session are committed if
and only if the effect is marked as delivered. If a service is down, raise `Unavailable`: the
attempt does not count, and no other effect of this kind is tried in this delivery."""
Transaction = Callable[[], AbstractAsyncContextManager["AsyncSession"]]
"""Opens a session in a transaction, which the end of the block commits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One effect to deliver.

    Attributes:
        id: Its number, which stays the same if it is delivered again: pass it on as the
            idempotency key.
        kind: What to do: "mail.welcome".
        payload: The payload that was passed to `put_effect`.
        attempt: 1 for the first attempt.
    """

    id: int
    kind: str
    payload: Mapping[str, Any]
    attempt: int


async def put_effect(session: AsyncSession, kind: str, payload: Mapping[str, Any]) -> None:
    """Store an effect in the outbox; it is committed or rolled back with the transaction's rows.

    It is delivered later, at least once: after a crash between the delivery and the mark it is
    delivered again, so the receiver must accept it twice.

    Args:
        session: The session of `process`, of `handle`, or of a request.
        kind: Selects the handler: "mail.welcome".
        payload: Input of the handler, as JSON; without secrets, because it is stored unencrypted.
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
