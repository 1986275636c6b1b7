"""Helpers for tests of API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from app import apikeys
from app.models import ApiKey, User

if TYPE_CHECKING:
    from app.apikeys import Principal
    from oneoff.testing import Manage
    from tests.support.fixture_types import Sessions

DAY = timedelta(days=1)
ACCOUNT = "service-account create ci"


def now() -> datetime:
    """Return the time as the commands see it."""
    return datetime.now(UTC)


async def make_key(manage: Manage, options: str = "--service-account ci") -> str:
    """Create a key with the project's command, and return it; the owner must exist."""
    outcome = await manage(f"apikey create {options} --quiet")
    assert 0 == outcome.exit_code, outcome.stderr
    return outcome.stdout.removesuffix("\n")


async def use(sessions: Sessions, key: str, at: datetime | None = None) -> Principal:
    """Authenticate with a key, as a request does."""
    async with sessions.begin() as session:
        return await apikeys.authenticate(session, key, now=at)


async def refusal(sessions: Sessions, key: str, at: datetime | None = None) -> str:
    """Return why a key is refused; empty if it is not."""
    try:
        await use(sessions, key, at)
    except apikeys.BadKey as bad:
        return bad.reason
    return ""


async def stored(sessions: Sessions) -> list[ApiKey]:
    """Return all keys of the table."""
    async with sessions() as session:
        return list(await session.scalars(select(ApiKey).order_by(ApiKey.id)))


async def listed(manage: Manage, options: str = "--all") -> list[dict[str, Any]]:
    """Return the keys that `apikey list` shows."""
    rows: list[dict[str, Any]] = (await manage(f"apikey list {options} --json")).json["data"]
    return rows


async def set_inactive(sessions: Sessions, username: str) -> None:
    """Deactivate a user as an import does: nothing is ended."""
    async with sessions.begin() as session:
        await session.execute(update(User).where(User.username == username).values(active=False))
