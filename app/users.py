"""Create, find and change users: the rules that commands and the web API share.

Nothing here commits: the caller owns the transaction. A user is identified by username or email,
which are not case-sensitive. Functions that change a user also return the previous value, so that
the caller can distinguish "changed" from "unchanged".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from email_validator import EmailNotValidError
from sqlalchemy import ColumnExpressionArgument, func, or_, select
from sqlalchemy.exc import IntegrityError

from app import access, events
from app.access import Ended
from app.models import User
from app.names import lookup_form, normal_email, normal_name
from app.outbox import PROMOTED
from app.roles import Role
from app.similar import did_you_mean
from oneoff import CommandError, DataError, NotFound, Refused, put_effect

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Without "@", so that it is never read as an email; no leading "-", so never as an option."""

GREATEST_ID = 2**31 - 1
"""The greatest number that fits into a key column."""

_ACTIVE_ADMIN = (User.role == Role.ADMIN) & User.active


async def create(
    session: AsyncSession,
    username: str,
    email: str,
    *,
    password_hash: str,
    role: Role = Role.USER,
    active: bool = True,
    if_not_exists: bool = False,
) -> tuple[User, bool]:
    """Create a user.

    Args:
        session: The caller's transaction.
        username: Stored in lower case.
        email: Only its syntax is checked; stored in lower case.
        password_hash: From `passwords.hash_new`, or `passwords.UNUSABLE`.
        role: The role of the user.
        active: Whether the user can sign in.
        if_not_exists: Return an existing user with both this username and this email.

    Returns:
        The user, and whether it was created.

    Raises:
        DataError: The username or the email is malformed.
        CommandError: `user-exists`: another user has the username or the email.
    """
    username, email = _clean(username, email)
    holders = await _holders(session, username, email)
    if not holders:
        user = User(
            username=username, email=email, role=role, active=active, password_hash=password_hash
        )
        try:
            async with session.begin_nested():
                session.add(user)
        except IntegrityError:
            # A concurrent run created it first. The savepoint keeps the transaction usable.
            holders = await _holders(session, username, email)
            if not holders:
                raise
        else:
            return user, True
    if if_not_exists and (holders[0].username, holders[0].email) == (username, email):
        return holders[0], False
    raise _exists(holders, username, email)


async def get(session: AsyncSession, who: str, *, lock: bool = False) -> User:
    """Return the user with this username or email.

    Args:
        session: The caller's transaction.
        who: Username or email, not case-sensitive.
        lock: Read the row again and lock it until the transaction ends (PostgreSQL), for a change
            that depends on its current values.

    Raises:
        NotFound: The user does not exist; the hint names similar ones.
    """
    user = await find(session, who, lock=lock)
    if user is None:
        column = User.email if "@" in who else User.username
        raise NotFound(
            f"there is no user {who!r}",
            try_=await did_you_mean(session, column, lookup_form(who), listing="user list"),
            code="user-not-found",
        )
    return user


async def find(session: AsyncSession, who: str, *, lock: bool = False) -> User | None:
    """Return the user as `get` does, or None."""
    name = lookup_form(who)
    if name is None:
        return None
    statement = select(User).where((User.email if "@" in name else User.username) == name)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return await session.scalar(statement)


async def usernames(connection: AsyncConnection, prefix: str) -> Sequence[str]:
    """Return the first usernames that begin with a text, for the tab key."""
    begins = User.username.startswith(prefix.lower(), autoescape=True)
    return (
        await connection.scalars(select(User.username).where(begins).order_by("username").limit(50))
    ).all()


async def matching(
    session: AsyncSession,
    *,
    limit: int,
    active_only: bool = False,
    role: Role | None = None,
    search: str = "",
) -> tuple[Sequence[User], int]:
    """Return the first `limit` users in order of creation, and how many users match in total.

    `search` is a part of the username or email; `%` and `_` are not wildcards.
    """
    where: list[ColumnExpressionArgument[bool]] = []
    if active_only:
        where.append(User.active)
    if role:
        where.append(User.role == role)
    if search:
        text = lookup_form(search)
        if text is None:
            return [], 0
        columns = (User.username, User.email)
        where.append(or_(*(column.contains(text, autoescape=True) for column in columns)))
    found = await session.scalars(select(User).where(*where).order_by(User.id).limit(limit))
    total = await session.scalar(select(func.count()).select_from(User).where(*where))
    return found.all(), total or 0


async def promote(session: AsyncSession, who: str, role: Role) -> tuple[User, Role]:
    """Change a user's role; return the user and the previous role.

    Raises:
        NotFound: The user does not exist.
        Refused: The change would demote the last active admin.
    """
    if role is not Role.ADMIN:
        await _refuse_last_admin(session, who)
    user = await get(session, who, lock=True)
    before, user.role = user.role, role
    if before is not role:
        await events.add(session, "user.promoted", user, f"{before} to {role}")
        await put_effect(session, PROMOTED, {"user_id": user.id, "role": role.value})
    await session.flush()
    return user, before


async def activate(session: AsyncSession, who: str) -> tuple[User, bool, Ended]:
    """Activate a user.

    Sessions and keys from before do not work again, also if the user was deactivated by other
    means than `deactivate`, such as an import.

    Returns:
        The user, whether it was active before, and what was ended.

    Raises:
        NotFound: The user does not exist.
    """
    user = await get(session, who, lock=True)
    before, user.active = user.active, True
    await session.flush()
    ended = Ended(0, 0) if before else await access.end(session, user, datetime.now(UTC))
    return user, before, ended


async def deactivate(session: AsyncSession, who: str) -> tuple[User, bool, Ended]:
    """Deactivate a user, and end all its sessions and API keys.

    Returns:
        The user, whether it was active before, and what was ended.

    Raises:
        NotFound: The user does not exist.
        Refused: The change would deactivate the last active admin.
    """
    await _refuse_last_admin(session, who)
    user = await get(session, who, lock=True)
    before, user.active = user.active, False
    await session.flush()
    return user, before, await access.end(session, user, datetime.now(UTC))


async def reset_password(session: AsyncSession, who: str, password_hash: str) -> tuple[User, Ended]:
    """Replace the hash of a user's password with one from `passwords.hash_new`.

    All sessions and API keys of the user end, because they may be those of an attacker who knew the
    old password. Return the user and what was ended.

    Raises:
        NotFound: The user does not exist.
    """
    user = await get(session, who, lock=True)
    user.password_hash = password_hash
    await session.flush()
    return user, await access.end(session, user, datetime.now(UTC))


async def _refuse_last_admin(session: AsyncSession, who: str) -> None:
    """Raise `Refused` if the user is the only active admin."""
    # Lock all active admins until the transaction ends. Otherwise two concurrent runs that demote
    # one admin each could leave none. Locking in the order of id avoids a deadlock between them.
    admins = await session.scalars(
        select(User)
        .where(_ACTIVE_ADMIN)
        .order_by(User.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    match admins.all():
        case [last] if lookup_form(who) in (last.username, last.email):
            raise Refused(
                f"{last.username} is the last active admin",
                why="without an active admin, no one could manage users",
                try_="make another user admin first: "
                "python manage.py user promote OTHER admin --confirm",
                code="last-admin",
            )


def _clean(username: str, email: str) -> tuple[str, str]:
    """Return both as they are stored; raise one error with everything that is wrong."""
    problems = []
    name = normal_name(username)
    if not USERNAME.fullmatch(name):
        problems.append(
            f"username {username!r} is not 1 to 64 letters a-z, digits, '.', '_' or '-', "
            "starting with a letter or digit"
        )
    try:
        email = normal_email(email)
    except EmailNotValidError as exc:
        reason = str(exc).rstrip(".")
        problems.append(f"email {email!r} is not valid: {reason[:1].lower()}{reason[1:]}")
    if problems:
        raise DataError(
            "; ".join(problems),
            try_="correct it, as in: python manage.py user create ada ada@example.com",
            code="bad-user",
        )
    return name, email


async def _holders(session: AsyncSession, username: str, email: str) -> Sequence[User]:
    """Return the users with this username or this email: none, one or two."""
    taken = (User.username == username) | (User.email == email)
    return (await session.scalars(select(User).where(taken).order_by(User.id))).all()


def _exists(holders: Sequence[User], username: str, email: str) -> CommandError:
    named = any(user.username == username for user in holders)
    mailed = any(user.email == email for user in holders)
    taken = " and ".join(
        text
        for text, is_taken in ((f"username {username}", named), (f"email {email}", mailed))
        if is_taken
    )
    return CommandError(
        f"the {taken} {'are' if named and mailed else 'is'} taken",
        try_=[f"python manage.py user show {user.username}" for user in holders],
        code="user-exists",
    )
