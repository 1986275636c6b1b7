"""What can be done with service accounts: the rules that commands and the web API share.

Nothing here commits: the caller owns the transaction. An account is named in any case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from app.models import ApiKey, ServiceAccount
from app.similar import did_you_mean
from oneoff import CommandError, DataError, NotFound

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
LONGEST_DESCRIPTION = 200


async def create(
    session: AsyncSession, name: str, *, description: str = "", if_not_exists: bool = False
) -> tuple[ServiceAccount, bool]:
    """Add a service account.

    Args:
        session: The caller's transaction.
        name: Stored in lower case.
        description: What uses it, for people who read the list.
        if_not_exists: Return the account of this name if there is one.

    Returns:
        The account, and whether it was created.

    Raises:
        DataError: Name or description are malformed.
        CommandError: `service-account-exists`.
    """
    name, description = _clean(name, description)
    account = await _named(session, name)
    if account is None:
        account = ServiceAccount(name=name, description=description, active=True)
        try:
            async with session.begin_nested():
                session.add(account)
        except IntegrityError:
            # Someone else was faster; the savepoint keeps the rest of the transaction alive.
            account = await _named(session, name)
            if account is None:
                raise
        else:
            return account, True
    if not if_not_exists:
        raise CommandError(
            f"the service account {name} exists already",
            try_=(
                f"python manage.py apikey create --service-account {name}",
                f"python manage.py service-account create {name} --if-not-exists",
            ),
            code="service-account-exists",
        )
    return account, False


async def get(session: AsyncSession, name: str, *, lock: bool = False) -> ServiceAccount:
    """Return the account of this name.

    Args:
        session: The caller's transaction.
        name: In any case.
        lock: Hold the row until the transaction ends (PostgreSQL), for a change that depends on
            what it says now.

    Raises:
        NotFound: There is none; the hint names similar ones.
    """
    account = await _named(session, name.strip().lower(), lock=lock)
    if account is None:
        raise NotFound(
            f"there is no service account {name!r}",
            try_=await did_you_mean(
                session, ServiceAccount.name, name.strip().lower(), listing="service-account list"
            ),
            code="service-account-not-found",
        )
    return account


async def matching(
    session: AsyncSession, *, limit: int, active_only: bool = False
) -> tuple[Sequence[ServiceAccount], int]:
    """Return the first `limit` accounts by name, and how many there are in all."""
    where = [ServiceAccount.active] if active_only else []
    found = await session.scalars(
        select(ServiceAccount).where(*where).order_by(ServiceAccount.name).limit(limit)
    )
    total = await session.scalar(select(func.count()).select_from(ServiceAccount).where(*where))
    return found.all(), total or 0


async def activate(session: AsyncSession, name: str) -> tuple[ServiceAccount, bool]:
    """Let an account have keys again; return it and whether it could before.

    The keys that were revoked when it was deactivated stay revoked.

    Raises:
        NotFound: There is no such account.
    """
    account = await get(session, name, lock=True)
    before, account.active = account.active, True
    await session.flush()
    return account, before


async def deactivate(
    session: AsyncSession, name: str, *, now: datetime | None = None
) -> tuple[ServiceAccount, bool, int]:
    """Close an account and revoke its keys.

    Returns:
        The account, whether it was active before, and how many keys were revoked.

    Raises:
        NotFound: There is no such account.
    """
    now = now or datetime.now(UTC)
    # The lock makes a key that is being created for it wait, or be there to be revoked.
    account = await get(session, name, lock=True)
    before, account.active = account.active, False
    await session.flush()
    revoked = await session.scalars(
        update(ApiKey)
        .where(
            ApiKey.service_account_id == account.id,
            ApiKey.revoked_at.is_(None),
            ApiKey.expires_at > now,
        )
        .values(revoked_at=now)
        .returning(ApiKey.id)
        .execution_options(synchronize_session=False)
    )
    return account, before, len(revoked.all())


async def _named(session: AsyncSession, name: str, *, lock: bool = False) -> ServiceAccount | None:
    statement = select(ServiceAccount).where(ServiceAccount.name == name)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return await session.scalar(statement)


def _clean(name: str, description: str) -> tuple[str, str]:
    """Return both as they are stored, or say everything that is wrong with them."""
    problems = []
    cleaned = name.strip().lower()
    if not NAME.fullmatch(cleaned):
        problems.append(
            f"name {name!r} is not 1 to 64 letters a-z, digits, '.', '_' or '-', beginning with a "
            "letter or digit"
        )
    description = description.strip()
    if len(description) > LONGEST_DESCRIPTION or not description.isprintable():
        problems.append(
            f"the description is not one line of at most {LONGEST_DESCRIPTION} characters"
        )
    if problems:
        raise DataError(
            "; ".join(problems),
            try_='correct it, as in: python manage.py service-account create ci --description "CI"',
            code="bad-service-account",
        )
    return cleaned, description
