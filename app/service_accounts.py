"""Create, find, activate and deactivate service accounts: rules for commands and the web API.

Nothing here commits: the caller owns the transaction. Names are not case-sensitive.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from app import access
from app.models import ServiceAccount
from app.names import lookup_form, normal_name
from app.similar import did_you_mean
from oneoff import CommandError, DataError, NotFound

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
LONGEST_DESCRIPTION = 200
"""Characters, as in the column `service_accounts.description`."""


async def account_names(connection: AsyncConnection, prefix: str) -> Sequence[str]:
    """Return the first names that begin with a text, for the tab key."""
    begins = ServiceAccount.name.startswith(prefix.lower(), autoescape=True)
    return (
        await connection.scalars(
            select(ServiceAccount.name).where(begins).order_by("name").limit(50)
        )
    ).all()


async def create(
    session: AsyncSession, name: str, *, description: str = "", if_not_exists: bool = False
) -> tuple[ServiceAccount, bool]:
    """Create a service account.

    Args:
        session: The caller's transaction.
        name: Stored in lower case.
        description: What uses the account, for people who read the list.
        if_not_exists: Return an existing account with this name instead of raising.

    Returns:
        The account, and whether it was created.

    Raises:
        DataError: The name or the description is malformed.
        CommandError: `service-account-exists`: the name is taken.
    """
    name, description = _clean(name, description)
    account = await _named(session, name)
    if account is None:
        account = ServiceAccount(name=name, description=description, active=True)
        try:
            async with session.begin_nested():
                session.add(account)
        except IntegrityError:
            # A concurrent run created it first. The savepoint keeps the transaction usable.
            account = await _named(session, name)
            if account is None:
                raise
        else:
            return account, True
    if not if_not_exists:
        raise CommandError(
            f"the service account {name} already exists",
            try_=(
                f"python manage.py apikey create --service-account {name}",
                f"python manage.py service-account create {name} --if-not-exists",
            ),
            code="service-account-exists",
        )
    return account, False


async def get(session: AsyncSession, name: str, *, lock: bool = False) -> ServiceAccount:
    """Return the account with this name.

    Args:
        session: The caller's transaction.
        name: Not case-sensitive.
        lock: Read the row again and lock it until the transaction ends (PostgreSQL), for a change
            that depends on its current values.

    Raises:
        NotFound: The account does not exist; the hint names similar ones.
    """
    wanted = lookup_form(name)
    account = None if wanted is None else await _named(session, wanted, lock=lock)
    if account is None:
        raise NotFound(
            f"there is no service account {name!r}",
            try_=await did_you_mean(
                session, ServiceAccount.name, wanted, listing="service-account list"
            ),
            code="service-account-not-found",
        )
    return account


async def matching(
    session: AsyncSession, *, limit: int, active_only: bool = False
) -> tuple[Sequence[ServiceAccount], int]:
    """Return the first `limit` accounts by name, and how many match in total."""
    where = [ServiceAccount.active] if active_only else []
    found = await session.scalars(
        select(ServiceAccount).where(*where).order_by(ServiceAccount.name).limit(limit)
    )
    total = await session.scalar(select(func.count()).select_from(ServiceAccount).where(*where))
    return found.all(), total or 0


async def activate(session: AsyncSession, name: str) -> tuple[ServiceAccount, bool]:
    """Activate an account; return it and whether it was active before.

    Keys that were revoked when it was deactivated stay revoked.

    Raises:
        NotFound: The account does not exist.
    """
    account = await get(session, name, lock=True)
    before, account.active = account.active, True
    await session.flush()
    return account, before


async def deactivate(
    session: AsyncSession, name: str, *, now: datetime | None = None
) -> tuple[ServiceAccount, bool, int]:
    """Deactivate an account and revoke its keys.

    Returns:
        The account, whether it was active before, and how many keys were revoked.

    Raises:
        NotFound: The account does not exist.
    """
    now = now or datetime.now(UTC)
    # `apikeys.create` locks the same row: a concurrent key is either committed before the UPDATE
    # below, which revokes it, or its creation waits and is then refused.
    account = await get(session, name, lock=True)
    before, account.active = account.active, False
    await session.flush()
    return account, before, await access.revoke_keys(session, account, now)


async def _named(session: AsyncSession, name: str, *, lock: bool = False) -> ServiceAccount | None:
    statement = select(ServiceAccount).where(ServiceAccount.name == name)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return await session.scalar(statement)


def _clean(name: str, description: str) -> tuple[str, str]:
    """Return both as they are stored; raise one error with everything that is wrong."""
    problems = []
    cleaned = normal_name(name)
    if not NAME.fullmatch(cleaned):
        problems.append(
            f"name {name!r} is not 1 to 64 letters a-z, digits, '.', '_' or '-', starting with a "
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
