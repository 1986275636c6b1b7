"""What happened to accounts: written in the transaction that does it, deleted by its age."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.models import Event

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.models import User


async def add(
    session: AsyncSession, kind: str, user: User, detail: str = "", *, now: datetime | None = None
) -> None:
    """Add what happened to a user.

    Args:
        session: The caller's transaction.
        kind: "user.promoted", "session.opened".
        user: Whom it is about.
        detail: At most 200 characters; nothing secret.
        now: When; for tests.
    """
    session.add(Event(at=now or datetime.now(UTC), kind=kind, user_id=user.id, detail=detail))
    await session.flush()
