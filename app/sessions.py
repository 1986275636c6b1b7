"""Sign in with a password; find, list and end sessions.

Nothing here commits: the caller owns the transaction.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from app import events, passwords, users
from app.locales import best_match
from app.models import Event, Session, User
from app.names import lookup_form
from oneoff import NotFound, SecretStr

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

LIFETIME = timedelta(hours=12)
"""How long a session lasts."""
FAILURES = 10
"""The number of refused sign-ins with one name after which the next ones wait."""
WINDOW = timedelta(minutes=15)
"""The time within which refused sign-ins are counted."""

_REFUSED = "session.refused"
_LONGEST_LANGUAGE = 200
"""Characters, as in the column `users.accept_language`; a longer header is truncated."""


class BadSignIn(Exception):
    """The name or the password is wrong, or the user is inactive. It does not reveal which."""


class TooManySignIns(BadSignIn):
    """Too many sign-ins with this name were refused, whether or not the user exists.

    Attributes:
        wait: The time until the next one is possible.
    """

    def __init__(self, wait: timedelta) -> None:
        super().__init__("too many sign-ins were refused")
        self.wait = wait


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
        session: The caller's transaction. Commit it also after `BadSignIn`, because refused
            sign-ins are counted by their events.
        who: Username or email, not case-sensitive.
        password: As the user typed it.
        accept_language: The header of the request. It is stored, and decides the user's locale.
        now: The time of the sign-in; for tests.

    Raises:
        BadSignIn: The user can't sign in.
        TooManySignIns: The user can't sign in now. The password was not checked.
    """
    now = now or datetime.now(UTC)
    tried = _name_digest(who)
    await _throttle(session, tried, now)
    user = await users.find(session, who)
    # A name that does not exist costs the same work.
    stored = user.password_hash if user else passwords.UNUSABLE
    right = await passwords.verify_password(stored, password)
    # While the password was checked, it may have been reset, or the user deactivated. The lock lets
    # a later reset wait for this transaction, and then end its session.
    signed_in = user and right and await _lock_unchanged(session, user, stored)
    if not signed_in:
        await events.add(session, _REFUSED, user, tried, now=now)
        raise BadSignIn
    if passwords.needs_rehash(stored):
        signed_in.password_hash = await passwords.hash_password(password)
    if accept_language.isprintable() and accept_language:
        signed_in.accept_language = accept_language[:_LONGEST_LANGUAGE]
        signed_in.locale = signed_in.locale or best_match(accept_language)
    token = secrets.token_urlsafe(32)
    opened = Session(
        user=signed_in, token_hash=_digest(token), created_at=now, expires_at=now + LIFETIME
    )
    session.add(opened)
    await events.add(session, "session.opened", signed_in, now=now)
    return opened, SecretStr(token)


async def find(session: AsyncSession, token: str, *, now: datetime | None = None) -> User | None:
    """Return the user of a session; None if it is unknown, expired, or the user is inactive."""
    found = await current(session, token, now=now)
    return found.user if found else None


async def current(
    session: AsyncSession, token: str, *, now: datetime | None = None
) -> Session | None:
    """Return the session with this token; None if `find` would return no user."""
    found = await session.scalar(select(Session).where(Session.token_hash == _digest(token)))
    if found is None or found.expires_at <= (now or datetime.now(UTC)) or not found.user.active:
        return None
    return found


async def matching(
    session: AsyncSession, *, limit: int, user: User | None = None, now: datetime
) -> tuple[Sequence[Session], int]:
    """Return the first `limit` open sessions, oldest first, and how many there are in total."""
    where = [Session.expires_at > now]
    if user:
        where.append(Session.user_id == user.id)
    found = await session.scalars(select(Session).where(*where).order_by(Session.id).limit(limit))
    total = await session.scalar(select(func.count()).select_from(Session).where(*where))
    return found.all(), total or 0


async def end(session: AsyncSession, number: int, *, user: User | None = None) -> Session:
    """End a session, and return what it was.

    Args:
        session: The caller's transaction.
        number: Number of the session.
        user: End it only if it is one of this user.

    Raises:
        NotFound: There is no such session.
    """
    found = await session.get(Session, number) if 0 < number <= users.GREATEST_ID else None
    if found is None or (user and found.user_id != user.id):
        raise NotFound(
            f"there is no session {number}",
            why="it has ended, or never existed",
            try_="python manage.py session list",
            code="session-not-found",
        )
    await session.delete(found)
    await events.add(session, "session.ended", found.user)
    return found


async def _throttle(session: AsyncSession, tried: str, now: datetime) -> None:
    """Raise `TooManySignIns` if this name was refused too often."""
    refused = select(Event.at).where(
        Event.kind == _REFUSED, Event.detail == tried, Event.at > now - WINDOW
    )
    times = (await session.scalars(refused.order_by(Event.at.desc()).limit(FAILURES))).all()
    if len(times) == FAILURES:
        raise TooManySignIns(times[-1] + WINDOW - now)


async def _lock_unchanged(session: AsyncSession, user: User, password_hash: str) -> User | None:
    """Lock a user; return it if it is active and still has this hash."""
    return await session.scalar(
        select(User)
        .where(User.id == user.id, User.active, User.password_hash == password_hash)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )


def _name_digest(who: str) -> str:
    """Return a short digest of a name. People type passwords into the field for the name too."""
    # 32 bits: enough that two names rarely share a limit, too few to confirm a guessed password.
    return _digest(lookup_form(who) or who)[:8]


def _digest(token: str) -> str:
    # A token has 256 random bits and can't be guessed, so a fast hash is enough.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
