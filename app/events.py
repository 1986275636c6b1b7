"""Record what happens to accounts, in the transaction of the change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.models import Event

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.models import User


async def add(
    session: AsyncSession,
    kind: str,
    user: User | None,
    detail: str = "",
    *,
    now: datetime | None = None,
) -> None:
    """Add an event.

    Args:
        session: The caller's transaction.
        kind: What happened, such as "user.promoted" or "session.opened".
        user: The user to whom it happened; None if there is none.
        detail: At most 200 characters, without secrets.
        now: The time of the event; for tests.
    """
    user_id = user and user.id
    session.add(Event(at=now or datetime.now(UTC), kind=kind, user_id=user_id, detail=detail))
    await session.flush()
