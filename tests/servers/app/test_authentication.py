"""Authentication with API keys, and the deletion of old keys."""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, update
from sqlalchemy.exc import IntegrityError

from app import apikey_format, apikeys
from app.authentication import USE_INTERVAL
from app.models import ApiKey
from tests.support.keys import ACCOUNT, DAY, make_key, now, refusal, set_inactive, stored, use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser, Sessions


@pytest.fixture
def statements(sessions: Sessions) -> Iterator[list[str]]:
    """Return a list that collects the SQL of the test's sessions."""
    engine = sessions.kw["bind"].sync_engine
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


async def with_key(manage: Manage) -> str:
    """Create a service account and a key for it; return the key."""
    await manage(ACCOUNT)
    return await make_key(manage)


def altered(key: str) -> str:
    """Return a key with the same prefix and a valid checksum, but with another secret."""
    body = f"{key[:14]}{'A' * apikey_format.SECRET_LENGTH}"
    return body + apikey_format.checksum(body)


async def test_unknown_and_wrong_keys_cause_the_same_work(
    manage: Manage, sessions: Sessions, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For both: one statement, one hash and one comparison in constant time."""
    key = await with_key(manage)
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counting(a: str, b: str) -> bool:
        compared.append((len(a), len(b)))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    statements.clear()

    reasons = [
        await refusal(sessions, apikey_format.generate().text.reveal()),
        await refusal(sessions, altered(key)),
    ]

    asked = [text for text in statements if text.startswith("SELECT")]
    assert ["unknown", "wrong"] == reasons
    assert [(64, 64)] * 2 == compared
    assert (2, 1) == (len(asked), len(set(asked)))


async def test_a_key_works_until_the_exact_time_of_its_end(
    manage: Manage, sessions: Sessions
) -> None:
    """It works a millisecond before, and not at that time."""
    key = await with_key(manage)
    (made,) = await stored(sessions)
    end = made.expires_at

    assert ["", "expired"] == [
        await refusal(sessions, key, at) for at in (end - DAY / 86_400_000, end)
    ]


@pytest.mark.parametrize(
    "line",
    ["user deactivate ada --confirm", "user reset-password ada --generate-password --confirm"],
)
async def test_the_keys_of_a_user_end_with_the_password_or_the_account(
    manage: Manage, make_user: MakeUser, sessions: Sessions, line: str
) -> None:
    """Permanently: also a rotated key in its grace, and also when the user is active again."""
    await make_user("ada")
    await make_user("eve")
    old = await make_key(manage, "--user ada")
    new = (await manage("apikey rotate 1 --confirm --quiet")).stdout.strip()
    other = await make_key(manage, "--user eve")

    await manage(line)
    await manage("user activate ada --confirm")

    reasons = [await refusal(sessions, key) for key in (old, new, other)]
    assert ["revoked", "revoked", ""] == reasons


async def test_a_key_does_not_work_again_when_its_owner_is_activated(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """Also if the user was deactivated without the command."""
    await make_user("ada")
    key = await make_key(manage, "--user ada")
    await set_inactive(sessions, "ada")
    reasons = [await refusal(sessions, key)]

    activated = await manage("user activate ada --confirm")

    reasons.append(await refusal(sessions, key))
    assert ["owner-inactive", "revoked"] == reasons
    assert "ada is now active; 0 sessions and 1 API key ended\n" == activated.stdout


async def test_the_use_of_a_key_is_written_once_a_minute(
    manage: Manage, sessions: Sessions, statements: list[str]
) -> None:
    """Not for every request."""
    key = await with_key(manage)
    at = now()
    written, noted = [], []

    for moment in (at, at + USE_INTERVAL / 2, at + USE_INTERVAL):
        statements.clear()
        await use(sessions, key, moment)
        written.append(sum(text.startswith("UPDATE") for text in statements))
        noted.append((await stored(sessions))[0].last_used_at)

    assert [1, 0, 1] == written
    assert [at, at, at + USE_INTERVAL] == noted


async def test_a_request_does_not_wait_for_a_rotation(manage: Manage, sessions: Sessions) -> None:
    """On PostgreSQL the use of a locked key is not written."""
    if manage.environ["DATABASE_URL"].startswith("sqlite"):
        pytest.skip("SQLite has one writer at a time")
    key = await with_key(manage)

    async with sessions.begin() as session:
        await apikeys.rotate(session, "1", grace=DAY, longest=90 * DAY)
        principal = await asyncio.wait_for(use(sessions, key), timeout=5)

    assert "ci" == principal.name
    assert (await stored(sessions))[0].last_used_at is None


async def test_deleting_a_successor_keeps_the_rotated_key(
    manage: Manage, sessions: Sessions
) -> None:
    """The rotated key then refers to no successor."""
    await with_key(manage)
    await manage("apikey rotate 1 --grace 0s --confirm")

    async with sessions.begin() as session:
        await session.execute(
            update(ApiKey).where(ApiKey.id == 2).values(expires_at=now() - 91 * DAY)
        )
    cleaned = await manage("data cleanup --only api-keys --confirm")

    assert (1, [(1, None)]) == (
        cleaned.rows,
        [(key.id, key.replaced_by_id) for key in await stored(sessions)],
    )


async def test_the_database_enforces_exactly_one_owner(manage: Manage, sessions: Sessions) -> None:
    """Code that bypasses the service can't create a key without an owner."""
    await with_key(manage)

    async with sessions() as session:
        with pytest.raises(IntegrityError):
            await session.execute(update(ApiKey).values(service_account_id=None))
