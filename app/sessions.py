"""Sign in with a password, and find the user of a session.

Nothing here commits: the caller owns the transaction.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import select

from app import events, passwords
from app.locales import best_match
from app.models import Session, User
from oneoff import SecretStr

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

LIFETIME = timedelta(hours=12)
"""How long a session lasts."""
_LONGEST_LANGUAGE = 200
"""Characters, as in the column `users.accept_language`; a longer header is truncated."""


class BadSignIn(Exception):
    """The name or the password is wrong, or the user is inactive. It does not reveal which."""


async def sign_in(
    session: AsyncSession,
    who: str,
    password: str,
    *,
    accept_language: str = "",
    now: datetime | None = None,
) -> tuple[Session, SecretStr]:
    """Open a session for a user; return it and its token, which is not stored.

    Args:
        session: The caller's transaction.
        who: Username or email, not case-sensitive.
        password: As the user typed it.
        accept_language: The header of the request. It is stored, and decides the user's locale.
        now: The time of the sign-in; for tests.

    Raises:
        BadSignIn: The user can't sign in.
    """
    now = now or datetime.now(UTC)
    name = who.strip().lower()
    user = await session.scalar(
        select(User).where((User.username == name) | (User.email == name)).order_by(User.id)
    )
    # An unknown name is checked against a dummy hash. Otherwise the response time would reveal
    # which names exist.
    known = await passwords.verify_password(user.password_hash if user else _dummy_hash(), password)
    if user is None or not known or not user.active:
        raise BadSignIn
    if passwords.needs_rehash(user.password_hash):
        user.password_hash = await passwords.hash_password(password)
    if accept_language:
        user.accept_language = accept_language[:_LONGEST_LANGUAGE]
        user.locale = user.locale or best_match(accept_language)
    token = secrets.token_urlsafe(32)
    opened = Session(
        user=user, token_hash=_digest(token), created_at=now, expires_at=now + LIFETIME
    )
    session.add(opened)
    await events.add(session, "session.opened", user, now=now)
    return opened, SecretStr(token)


async def find(session: AsyncSession, token: str, *, now: datetime | None = None) -> User | None:
    """Return the user of a session; None if it is unknown, expired, or the user is inactive."""
    found = await session.scalar(select(Session).where(Session.token_hash == _digest(token)))
    if found is None or found.expires_at <= (now or datetime.now(UTC)) or not found.user.active:
        return None
    return found.user


def _digest(token: str) -> str:
    # A token has 256 random bits and can't be guessed, so a fast hash is enough.
    return hashlib.sha256(token.encode()).hexdigest()


@cache
def _dummy_hash() -> str:
    return passwords.HASHER.hash(secrets.token_urlsafe(32))
