"""End the access that a user or service account has: sessions and API keys.

The caller has locked the owner's row. Sign-ins and new keys lock it too, so none is missed.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, update

from app.models import ApiKey, ServiceAccount, Session, User
from oneoff import counted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Ended(NamedTuple):
    """The numbers of sessions and of keys that worked and were ended."""

    sessions: int
    keys: int

    def __str__(self) -> str:
        return f"{counted(self.sessions, 'session')} and {counted(self.keys, 'API key')} ended"


async def end(session: AsyncSession, user: User, now: datetime) -> Ended:
    """End all sessions and API keys of a user, permanently."""
    gone = await session.scalars(
        delete(Session)
        .where(Session.user_id == user.id)
        .returning(Session.expires_at)
        .execution_options(synchronize_session=False)
    )
    return Ended(sum(end > now for end in gone), await revoke_keys(session, user, now))


async def revoke_keys(session: AsyncSession, owner: User | ServiceAccount, now: datetime) -> int:
    """Revoke the keys of an owner that have not ended, and return how many."""
    own = (
        ApiKey.user_id == owner.id
        if isinstance(owner, User)
        else ApiKey.service_account_id == owner.id
    )
    revoked = await session.scalars(
        update(ApiKey)
        .where(own, ApiKey.revoked_at.is_(None), ApiKey.expires_at > now)
        .values(revoked_at=now)
        .returning(ApiKey.id)
        .execution_options(synchronize_session=False)
    )
    return len(revoked.all())
