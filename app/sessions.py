"""Signing in with a password: what it gives, and who holds it.

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
"""How long a sign-in lasts."""
_LONGEST_LANGUAGE = 200


class BadSignIn(Exception):
    """Name or password is wrong, or the user is inactive; which of them is nobody's business."""


async def sign_in(
    session: AsyncSession,
    who: str,
    password: str,
    *,
    accept_language: str = "",
    now: datetime | None = None,
) -> tuple[Session, SecretStr]:
    """Open a session for a user, and return it with its token, which is nowhere else.

    Args:
        session: The caller's transaction.
        who: Username or email, in any case.
        password: As it was typed.
        accept_language: The header of the request; kept for the user's locale.
        now: The moment of it, for tests.

    Raises:
        BadSignIn: For whatever reason.
    """
    now = now or datetime.now(UTC)
    name = who.strip().lower()
    user = await session.scalar(
        select(User).where((User.username == name) | (User.email == name)).order_by(User.id)
    )
    # Of a name that is not there, as much is computed as of one that is.
    known = await passwords.verify_password(user.password_hash if user else _nobody(), password)
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
    """Return whose session this is; None if it is nobody's, or has expired."""
    found = await session.scalar(select(Session).where(Session.token_hash == _digest(token)))
    if found is None or found.expires_at <= (now or datetime.now(UTC)) or not found.user.active:
        return None
    return found.user


def _digest(token: str) -> str:
    # A token is 256 random bits: a fast hash is as good as a slow one.
    return hashlib.sha256(token.encode()).hexdigest()


@cache
def _nobody() -> str:
    return passwords.HASHER.hash(secrets.token_urlsafe(32))
