"""Authenticate a request to the API by its key."""

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
"""The precision of `last_used_at`. A shorter interval would cost more writes."""
WORKING = frozenset({"active", "grace"})
"""The states in which a key is accepted."""

_NO_HASH = "0" * 64
"""Compared with the digest of an unknown key: as long as a SHA-256, and the digest of no key."""


class BadKey(Exception):
    """The key is not valid.

    Attributes:
        reason: For the log: missing, malformed, unknown, wrong, revoked, expired or owner-inactive.
            Never return it to the caller: it would help an attacker to find a valid key.
        key_id: The key with this prefix; None if there is none.
    """

    def __init__(self, reason: str, key_id: int | None = None) -> None:
        super().__init__("the API key is not valid")
        self.reason = reason
        self.key_id = key_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The authenticated caller.

    Attributes:
        kind: Whether the owner of the key is a user or a service account.
        name: Username, or name of the service account.
        role: The user's current role; None for a service account.
        scopes: The key's scopes that the current role still allows.
        key_id: Number of the key.
        expires_at: When the key expires.
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
    """Return the owner of a key, and record that the key was used.

    A mistyped key is refused without a query. The time of use is written at most once a minute, and
    the caller has to commit it.

    Raises:
        BadKey: The key is not valid; its `reason` is for the log.
    """
    now = now or datetime.now(UTC)
    prefix = apikey_format.prefix_of(key)
    if prefix is None:
        raise BadKey("malformed" if key else "missing")
    found = await session.scalar(
        # populate_existing: read the row again if the session has loaded it before.
        select(ApiKey).where(ApiKey.prefix == prefix).execution_options(populate_existing=True)
    )
    # An unknown prefix costs the same query, hash and comparison as a wrong secret. Otherwise the
    # response time would reveal which prefixes exist.
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
    # Of several concurrent requests one writes the time. SKIP LOCKED lets the others continue
    # without waiting for it, or for a rotation that holds the row (PostgreSQL).
    unlocked = select(ApiKey.id).where(ApiKey.id == key.id).with_for_update(skip_locked=True)
    await session.execute(
        update(ApiKey)
        .where(
            ApiKey.id.in_(unlocked), ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at <= due)
        )
        .values(last_used_at=now)
        .execution_options(synchronize_session=False)
    )
