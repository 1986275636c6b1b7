"""Create, list, rotate and revoke API keys: the rules that commands, web API and worker share.

Nothing here commits: the caller owns the transaction. A key is identified by its number or its
prefix, never by its text. Pass `now` in tests, or to use one time for several calls.

A function that needs both rows locked locks the owner first and then the key. With one order,
concurrent changes wait for each other without a deadlock, and the second one sees the first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnExpressionArgument, Select, func, select

from app import apikey_format, scopes, service_accounts, users
from app.authentication import BadKey, Principal, authenticate
from app.models import ApiKey, ServiceAccount, User
from app.scopes import Scope
from oneoff import (
    CommandError,
    DataError,
    NotFound,
    Refused,
    SecretStr,
    UsageError,
    duration_text,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

__all__ = [
    "BadKey",
    "Principal",
    "authenticate",
    "create",
    "find_owner",
    "get",
    "matching",
    "revoke",
    "rotate",
]

LIFETIME = timedelta(days=90)
"""The lifetime of a key for which the caller passes none."""
LONGEST_NAME = 100
"""Characters, as in the column `api_keys.name`."""

_NUMBER = re.compile(r"[0-9]{1,10}")

ENDED = frozenset({"revoked", "expired"})
"""The states in which a key has stopped working permanently."""
Owner = User | ServiceAccount


async def create(
    session: AsyncSession,
    owner: Owner,
    *,
    granted: frozenset[Scope] = frozenset({Scope.READ}),
    lifetime: timedelta | None = None,
    longest: timedelta,
    name: str = "",
    now: datetime | None = None,
) -> tuple[ApiKey, SecretStr]:
    """Create a key for a user or service account.

    Args:
        session: The caller's transaction.
        owner: The owner of the key, as `find_owner` returns it.
        granted: The scopes of the key.
        lifetime: How long the key works; None for `LIFETIME`, or `longest` if that is shorter.
        longest: The longest lifetime that is allowed.
        name: A label for people.
        now: When the key starts to work.

    Returns:
        The row of the key, and the text of the key, which is not stored.

    Raises:
        DataError: The lifetime or the name is not acceptable.
        Refused: The owner is inactive, or the owner's role does not allow a scope.
    """
    lifetime = min(LIFETIME, longest) if lifetime is None else lifetime
    name = _check(name, lifetime, longest)
    # `service_accounts.deactivate` locks the owner too. So it sees this key and revokes it, or this
    # call sees that the owner is inactive.
    await session.refresh(owner, with_for_update=True)
    _check_owner(owner)
    _check_scopes(owner, granted)
    made = _make(owner, scopes.as_text(granted), lifetime, name, now or datetime.now(UTC))
    session.add(made[0])
    await session.flush()
    return made


async def find_owner(session: AsyncSession, *, user: str = "", service_account: str = "") -> Owner:
    """Return the owner with this name. Pass either a user or a service account.

    Args:
        session: The caller's transaction.
        user: Username or email.
        service_account: Name.

    Raises:
        UsageError: Both or neither are given.
        NotFound: The user or service account does not exist.
    """
    if bool(user) is bool(service_account):
        raise UsageError(
            "exactly one owner is needed: --user or --service-account",
            try_=(
                "python manage.py apikey create --service-account NAME",
                "python manage.py apikey create --user NAME",
            ),
        )
    if user:
        return await users.get(session, user)
    return await service_accounts.get(session, service_account)


async def get(session: AsyncSession, which: str, *, lock: bool = False) -> ApiKey:
    """Return the key with this number or prefix, and its owner.

    Raises:
        NotFound: The key does not exist.
        UsageError: `which` is a complete key, which must not be on a command line.
    """
    statement = _select()
    if _NUMBER.fullmatch(which) and int(which) <= users.GREATEST_ID:
        statement = statement.where(ApiKey.id == int(which))
    else:
        apikey_format.refuse_key(which)
        # Only a prefix is looked up: other text may be one that the database can't store.
        prefix = which if apikey_format.is_prefix(which) else ""
        statement = statement.where(ApiKey.prefix == prefix)
    if lock:
        statement = statement.with_for_update(of=ApiKey)
    key = await session.scalar(statement)
    if key is None:
        raise NotFound(
            f"there is no API key {which!r}",
            why="a key is identified by its number or its prefix",
            try_="python manage.py apikey list --all",
            code="apikey-not-found",
        )
    return key


async def matching(
    session: AsyncSession,
    *,
    limit: int,
    owner: Owner | None = None,
    ended: bool = False,
    now: datetime,
) -> tuple[Sequence[ApiKey], int]:
    """Return the first `limit` keys in order of creation, and how many keys match in total.

    Args:
        session: The caller's transaction.
        limit: The maximum number of keys.
        owner: Return only the keys of this owner.
        ended: Include revoked and expired keys.
        now: The time at which keys count as expired.
    """
    where: list[ColumnExpressionArgument[bool]] = []
    if isinstance(owner, User):
        where.append(ApiKey.user_id == owner.id)
    elif owner:
        where.append(ApiKey.service_account_id == owner.id)
    if not ended:
        where += [ApiKey.revoked_at.is_(None), ApiKey.expires_at > now]
    found = await session.scalars(_select().where(*where).order_by(ApiKey.id).limit(limit))
    total = await session.scalar(select(func.count()).select_from(ApiKey).where(*where))
    return found.all(), total or 0


async def revoke(
    session: AsyncSession, which: str, *, now: datetime | None = None
) -> tuple[ApiKey, bool]:
    """Revoke a key; return it, and whether this call ended it.

    Raises:
        NotFound: The key does not exist.
    """
    now = now or datetime.now(UTC)
    key = await get(session, which, lock=True)
    if key.state(now) in ENDED:
        return key, False
    key.revoked_at = now
    await session.flush()
    return key, True


async def rotate(
    session: AsyncSession,
    which: str,
    *,
    grace: timedelta,
    longest: timedelta,
    now: datetime | None = None,
) -> tuple[ApiKey, ApiKey, SecretStr]:
    """Replace a key with a new one that has the same owner, scopes, name and lifetime.

    Args:
        session: The caller's transaction.
        which: Number or prefix of the old key.
        grace: How long the old key continues to work; its own expiry is never extended.
        longest: The longest lifetime that is allowed.
        now: The time of the change.

    Returns:
        The old key, the new key, and the text of the new key, which is not stored.

    Raises:
        NotFound: The key does not exist.
        CommandError: The key has ended (`apikey-ended`) or has a successor (`apikey-rotated`).
        Refused: The owner is inactive.
    """
    now = now or datetime.now(UTC)
    # The owner is locked before the key. The second `get` reads the key again under its lock: a
    # concurrent rotation may have changed it since the first one.
    await session.refresh((await get(session, which)).owner, with_for_update=True)
    old = await get(session, which, lock=True)
    _check_rotatable(old, now)
    _check_owner(old.owner)
    # Computed before `expires_at` changes: the new key gets the lifetime of the old key, not the
    # part that remains.
    lifetime = min(old.expires_at - old.created_at, longest)
    new, text = _make(old.owner, old.scopes, lifetime, old.name, now)
    session.add(new)
    await session.flush()
    old.replaced_by_id = new.id
    old.expires_at = now + min(grace, old.expires_at - now)
    await session.flush()
    return old, new, text


def _select() -> Select[ApiKey]:
    """Return a SELECT that replaces what the session has loaded with what the database has now."""
    return select(ApiKey).execution_options(populate_existing=True)


def _make(
    owner: Owner, granted: str, lifetime: timedelta, name: str, now: datetime
) -> tuple[ApiKey, SecretStr]:
    made = apikey_format.generate()
    key = ApiKey(
        user=owner if isinstance(owner, User) else None,
        service_account=owner if isinstance(owner, ServiceAccount) else None,
        name=name,
        prefix=made.prefix,
        key_hash=made.digest,
        scopes=granted,
        created_at=now,
        expires_at=now + lifetime,
    )
    return key, made.text


def _check(name: str, lifetime: timedelta, longest: timedelta) -> str:
    """Return the name as it is stored; raise one error with everything that is wrong."""
    problems, why, tries = [], "", []
    name = name.strip()
    if len(name) > LONGEST_NAME or not name.isprintable():
        problems.append(f"the name is not one line of at most {LONGEST_NAME} characters")
    elif apikey_format.holds_key(name):
        problems.append("the name contains a complete API key, which every list would show")
        tries.append("revoke that key: other users of this machine can see arguments")
    if lifetime <= timedelta():
        took = duration_text(max(lifetime, timedelta()))
        problems.append(f"with a lifetime of {took} the key would never work")
        tries.append("give a longer lifetime: --expires 30d")
    elif lifetime > longest:
        problems.append(
            f"a lifetime of {duration_text(lifetime)} is more than {duration_text(longest)} "
            "(API_KEY_MAX_DAYS)"
        )
        why = "a forgotten key must expire"
        tries.append(
            "rotate keys instead of giving them a long lifetime: "
            "python manage.py apikey rotate ID --confirm"
        )
    if problems:
        raise DataError("; ".join(problems), why=why, try_=tries, code="bad-apikey")
    return name


def _check_owner(owner: Owner) -> None:
    if owner.active:
        return
    group, name = (
        ("user", owner.username) if isinstance(owner, User) else ("service-account", owner.name)
    )
    raise Refused(
        f"{name} is inactive",
        why="the keys of an inactive owner do not work",
        try_=f"python manage.py {group} activate {name} --confirm",
        code="owner-inactive",
    )


def _check_scopes(owner: Owner, granted: frozenset[Scope]) -> None:
    if not isinstance(owner, User):
        return
    possible = scopes.allowed(owner.role)
    if granted <= possible:
        return
    raise Refused(
        f"the role {owner.role} does not allow {scopes.as_text(granted - possible)}",
        why=f"a key of {owner.username} can't do more than {owner.username} can",
        try_=" --scope ".join(
            [f"python manage.py apikey create --user {owner.username}", *sorted(possible)]
        ),
        code="scope-not-allowed",
    )


def _check_rotatable(key: ApiKey, now: datetime) -> None:
    if key.replaced_by_id:
        raise CommandError(
            f"key {key.id} was already rotated; its successor is key {key.replaced_by_id}",
            try_=f"python manage.py apikey rotate {key.replaced_by_id} --confirm",
            code="apikey-rotated",
        )
    if key.state(now) in ENDED:
        raise CommandError(
            f"key {key.id} has ended: it is {key.state(now)}",
            why="only a key that still works can be rotated",
            try_=f"python manage.py apikey create --{key.kind} {key.owner_name}",
            code="apikey-ended",
        )
