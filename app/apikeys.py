"""What can be done with API keys: the rules that commands, the web API and the worker share.

Nothing here commits: the caller owns the transaction. A key is named by its number or its prefix,
never by itself. `now` is for tests, and for callers who ask several things about one moment.

Whoever changes a key holds the row of its owner first, where that matters, and then the key's: so
two changes at once wait for each other, in one order, and the second sees what the first one did.
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
"""How long a key works unless something else is asked for."""
LONGEST_NAME = 100

_NUMBER = re.compile(r"[0-9]{1,10}")
_GREATEST_ID = 2**31 - 1

ENDED = frozenset({"revoked", "expired"})
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
    """Make a key for a user or service account.

    Args:
        session: The caller's transaction.
        owner: Whose key it will be, as from `find_owner`.
        granted: What the key may be used for.
        lifetime: How long it works; None for `LIFETIME`, or `longest` if that is less.
        longest: The longest lifetime that is allowed.
        name: A label for people.
        now: The moment it starts to work.

    Returns:
        The key as stored, and the key itself, which exists nowhere else.

    Raises:
        DataError: Lifetime or name are not acceptable.
        Refused: The owner is inactive, or the owner's role does not allow a scope.
    """
    lifetime = min(LIFETIME, longest) if lifetime is None else lifetime
    name = _check(name, lifetime, longest)
    # Held, so that a key can't be missed by whoever deactivates the owner meanwhile.
    await session.refresh(owner, with_for_update=True)
    _check_owner(owner)
    _check_scopes(owner, granted)
    made = _make(owner, scopes.as_text(granted), lifetime, name, now or datetime.now(UTC))
    session.add(made[0])
    await session.flush()
    return made


async def find_owner(session: AsyncSession, *, user: str = "", service_account: str = "") -> Owner:
    """Return the one owner who is named.

    Args:
        session: The caller's transaction.
        user: Username or email.
        service_account: Name.

    Raises:
        UsageError: None is named, or two.
        NotFound: There is no such user or service account.
    """
    if bool(user) is bool(service_account):
        raise UsageError(
            "one owner is needed: either --user or --service-account",
            try_=(
                "python manage.py apikey create --service-account NAME",
                "python manage.py apikey create --user NAME",
            ),
        )
    if user:
        return await users.get(session, user)
    return await service_accounts.get(session, service_account)


async def get(session: AsyncSession, which: str, *, lock: bool = False) -> ApiKey:
    """Return the key of this number or prefix, with its owner.

    Raises:
        NotFound: There is none.
        UsageError: It is a whole key, which must not be on a command line.
    """
    statement = _select()
    if _NUMBER.fullmatch(which) and int(which) <= _GREATEST_ID:
        statement = statement.where(ApiKey.id == int(which))
    else:
        apikey_format.refuse_key(which)
        statement = statement.where(ApiKey.prefix == which)
    if lock:
        statement = statement.with_for_update(of=ApiKey)
    key = await session.scalar(statement)
    if key is None:
        raise NotFound(
            f"there is no API key {which!r}",
            why="a key is named by its number or its prefix",
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
    """Return the first `limit` keys in the order they were made, and how many match in all.

    Args:
        session: The caller's transaction.
        limit: How many at the most.
        owner: Only this one's.
        ended: Also those that were revoked or have expired.
        now: The moment at which they have.
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
    """End a key at once; return it, and whether it had not ended already.

    Raises:
        NotFound: There is no such key.
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
    """Replace a key by a new one with the same owner, scopes, name and lifetime.

    Args:
        session: The caller's transaction.
        which: Number or prefix of the old key.
        grace: How long the old key goes on working; never longer than it would have anyway.
        longest: The longest lifetime that is allowed.
        now: The moment of the change.

    Returns:
        The old key, the new one, and the new key itself, which exists nowhere else.

    Raises:
        NotFound: There is no such key.
        CommandError: `apikey-ended`, or `apikey-rotated` by someone else before.
        Refused: The owner is inactive.
    """
    now = now or datetime.now(UTC)
    await session.refresh((await get(session, which)).owner, with_for_update=True)
    old = await get(session, which, lock=True)
    _check_rotatable(old, now)
    _check_owner(old.owner)
    # Read before `expires_at` changes: the lifetime the old key was given, not what is left of it.
    lifetime = min(old.expires_at - old.created_at, longest)
    new, text = _make(old.owner, old.scopes, lifetime, old.name, now)
    session.add(new)
    await session.flush()
    old.replaced_by_id = new.id
    old.expires_at = now + min(grace, old.expires_at - now)
    await session.flush()
    return old, new, text


def _select() -> Select[ApiKey]:
    """Ask for keys as they are in the database now, whatever the session has read before."""
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
    """Return the name as it is stored, or say everything that is wrong with a new key."""
    problems, why, tries = [], "", []
    name = name.strip()
    if len(name) > LONGEST_NAME or not name.isprintable():
        problems.append(f"the name is not one line of at most {LONGEST_NAME} characters")
    elif apikey_format.holds_key(name):
        problems.append("the name holds a whole key, which would stay in the table and every list")
        tries.append("arguments are seen by everyone on the machine: revoke that key")
    if lifetime <= timedelta():
        took = duration_text(max(lifetime, timedelta()))
        problems.append(f"a lifetime of {took} is over before anybody can use the key")
        tries.append("say how long it works: --expires 30d")
    elif lifetime > longest:
        problems.append(
            f"a lifetime of {duration_text(lifetime)} is more than {duration_text(longest)} "
            "(API_KEY_MAX_DAYS)"
        )
        why = "a key that nobody remembers must end by itself"
        tries.append(
            "rotate keys instead of giving them a long life: "
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
        why="the keys of an inactive owner open nothing",
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
            f"key {key.id} was rotated already; its successor is key {key.replaced_by_id}",
            try_=f"python manage.py apikey rotate {key.replaced_by_id} --confirm",
            code="apikey-rotated",
        )
    if key.state(now) in ENDED:
        raise CommandError(
            f"key {key.id} has ended: it is {key.state(now)}",
            why="rotating continues a key that works",
            try_=f"python manage.py apikey create --{key.kind} {key.owner_name}",
            code="apikey-ended",
        )
