"""Who calls the API: the owner of the key that came with the request."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from app import apikey_format, scopes
from app.models import ApiKey, OwnerKind
from app.roles import Role
from app.scopes import Scope

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

USE_INTERVAL = timedelta(minutes=1)
"""How exact "last used" is: more would be a write for each request."""
WORKING = frozenset({"active", "grace"})

_NO_HASH = "0" * 64


class BadKey(Exception):
    """The key does not open anything.

    Attributes:
        reason: For the log: missing, malformed, unknown, wrong, revoked, expired or owner-inactive.
            Whoever sent the key is never told which: that would help to find a better one.
        key_id: The key it would be; None where there is none.
    """

    def __init__(self, reason: str, key_id: int | None = None) -> None:
        super().__init__("the API key is not valid")
        self.reason = reason
        self.key_id = key_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, as their key proves.

    Attributes:
        kind: What the owner of the key is.
        name: Username, or name of the service account.
        role: The user's role now; None for a service account.
        scopes: What this call may do: the key's scopes, less what the role does not allow any more.
        key_id: Number of the key.
        expires_at: When the key ends by itself.
    """

    kind: OwnerKind
    name: str
    role: Role | None
    scopes: frozenset[Scope]
    key_id: int
    expires_at: datetime


async def authenticate(
    session: AsyncSession, key: str, *, now: datetime | None = None
) -> Principal:
    """Return whose key this is, and note that it was used.

    The note is one UPDATE a minute at the most, which the caller has to commit; it waits for
    nobody on PostgreSQL. A mistyped key is refused without the database. Of a key that is not
    there and one that is wrong, the same is asked and computed, so that the time tells nothing.

    Raises:
        BadKey: With the reason for the log.
    """
    now = now or datetime.now(UTC)
    prefix = apikey_format.prefix_of(key)
    if prefix is None:
        raise BadKey("malformed" if key else "missing")
    found = await session.scalar(
        # As it is now, whatever the session has read before.
        select(ApiKey).where(ApiKey.prefix == prefix).execution_options(populate_existing=True)
    )
    is_right = hmac.compare_digest(found.key_hash if found else _NO_HASH, apikey_format.digest(key))
    if found is None:
        raise BadKey("unknown")
    if not is_right:
        raise BadKey("wrong", found.id)
    state = found.state(now)
    if state not in WORKING:
        raise BadKey(state, found.id)
    await _note_use(session, found, now)
    role = found.user.role if found.user else None
    return Principal(
        kind=found.kind,
        name=found.owner_name,
        role=role,
        scopes=scopes.from_text(found.scopes) & scopes.allowed(role),
        key_id=found.id,
        expires_at=found.expires_at,
    )


async def _note_use(session: AsyncSession, key: ApiKey, now: datetime) -> None:
    due = now - USE_INTERVAL
    if key.last_used_at and key.last_used_at > due:
        return
    # Of many requests at once the first writes it, and the others go on without waiting.
    unlocked = select(ApiKey.id).where(ApiKey.id == key.id).with_for_update(skip_locked=True)
    await session.execute(
        update(ApiKey)
        .where(
            ApiKey.id.in_(unlocked), ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at <= due)
        )
        .values(last_used_at=now)
        .execution_options(synchronize_session=False)
    )
