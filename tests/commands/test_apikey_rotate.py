"""`apikey rotate`, and concurrent changes of keys."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from app import apikeys, service_accounts
from oneoff import CommandError
from tests.support.keys import ACCOUNT, DAY, make_key, now, refusal, set_inactive, stored, use

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser, Sessions

HOUR = timedelta(hours=1)


def rotate(session: AsyncSession, at: datetime | None = None) -> Coroutine[Any, Any, object]:
    """Rotate key 1 with an hour of grace."""
    return apikeys.rotate(session, "1", grace=HOUR, longest=365 * DAY, now=at)


async def change(session: AsyncSession, work: str) -> str:
    """Make one of the changes that can be concurrent, and return its result."""
    try:
        if work == "rotate":
            await rotate(session)
        elif work == "revoke":
            return "done" if (await apikeys.revoke(session, "1"))[1] else "unchanged"
        elif work == "create":
            owner = await apikeys.find_owner(session, service_account="ci")
            await apikeys.create(session, owner, longest=DAY)
        else:
            await service_accounts.deactivate(session, "ci")
    except CommandError as error:
        return error.code
    return "done"


async def test_the_old_key_works_until_its_grace_ends(manage: Manage, sessions: Sessions) -> None:
    """The new key has the same owner, scopes, name and lifetime, and works immediately."""
    await manage(ACCOUNT)
    options = "--service-account ci --scope write --name deploy --expires 7d"
    old = await make_key(manage, options)

    outcome = await manage("apikey rotate 1 --grace 2h --confirm")

    shown = re.fullmatch(
        r"key 2 \((shop_\w{8})\) of ci replaces key 1, which works until "
        r"20\d\d-\d\d-\d\d \d\d:\d\d UTC\nkey: (\1_\w{49})\n",
        outcome.stdout,
    )
    assert shown, outcome.stdout
    assert (0, 2) == (outcome.exit_code, outcome.rows)
    first, second = await stored(sessions)
    assert (first.scopes, first.name, first.owner_name, 7 * DAY) == (
        second.scopes,
        second.name,
        second.owner_name,
        second.expires_at - second.created_at,
    )
    at = now()
    assert [2, 1] == [(await use(sessions, key, at)).key_id for key in (shown[2], old)]
    assert ["", "expired"] == [
        await refusal(sessions, key, at + 2 * HOUR) for key in (shown[2], old)
    ]


async def test_without_grace_the_old_key_ends_immediately(
    manage: Manage, sessions: Sessions
) -> None:
    """Use it for a leaked key."""
    await manage(ACCOUNT)
    old = await make_key(manage)

    outcome = await manage("apikey rotate 1 --grace 0s --confirm --quiet")

    assert "expired" == await refusal(sessions, old)
    assert "" == await refusal(sessions, outcome.stdout.rstrip("\n"))


async def test_grace_does_not_extend_the_lifetime_of_the_old_key(
    manage: Manage, sessions: Sessions
) -> None:
    """A grace of a million years is accepted, and the key expires as before."""
    await manage(ACCOUNT)
    await make_key(manage)
    (before,) = await stored(sessions)

    outcome = await manage("apikey rotate 1 --grace 365000000d --confirm")

    assert 0 == outcome.exit_code, outcome.stderr
    assert before.expires_at == (await stored(sessions))[0].expires_at


async def test_the_new_key_has_at_most_the_lifetime_that_is_allowed_now(
    manage: Manage, sessions: Sessions
) -> None:
    """API_KEY_MAX_DAYS can be lower than when the old key was created."""
    await manage(ACCOUNT)
    await make_key(manage)

    await manage("apikey rotate 1 --confirm", environ={"API_KEY_MAX_DAYS": "10"})

    new = (await stored(sessions))[1]
    assert 10 * DAY == new.expires_at - new.created_at


async def test_a_revoked_key_is_not_rotated(manage: Manage, sessions: Sessions) -> None:
    """The exit code is 1, also for a dry run, and the error suggests to create a key."""
    await manage(ACCOUNT)
    await make_key(manage)
    await manage("apikey revoke 1 --confirm")

    outcomes = [await manage(f"apikey rotate 1 {flag}") for flag in ("--confirm", "--dry-run")]

    assert ([1, 1], 1) == ([done.exit_code for done in outcomes], len(await stored(sessions)))
    assert (
        "error[apikey-ended]: key 1 has ended: it is revoked\n"
        "  why:  only a key that still works can be rotated\n"
        "  try:  python manage.py apikey create --service-account ci\n"
    ) in outcomes[0].stderr


async def test_an_expired_key_is_not_rotated(manage: Manage, sessions: Sessions) -> None:
    """Otherwise anyone with a stolen key could keep access permanently."""
    await manage(ACCOUNT)
    await make_key(manage)

    async with sessions() as session:
        with pytest.raises(CommandError, match="key 1 has ended: it is expired"):
            await rotate(session, now() + 91 * DAY)


async def test_a_key_can_be_rotated_only_once(manage: Manage, sessions: Sessions) -> None:
    """The error names the successor, which can be rotated."""
    await manage(ACCOUNT)
    await make_key(manage)
    await manage("apikey rotate 1 --confirm")

    outcome = await manage("apikey rotate 1 --confirm")

    assert (1, 2) == (outcome.exit_code, len(await stored(sessions)))
    assert (
        "error[apikey-rotated]: key 1 was already rotated; its successor is key 2\n"
        "  try:  python manage.py apikey rotate 2 --confirm\n"
    ) in outcome.stderr


async def test_the_error_names_the_successor_of_a_key_that_has_ended(manage: Manage) -> None:
    """It does not suggest to create a third key."""
    await manage(ACCOUNT)
    await make_key(manage)
    await manage("apikey rotate 1 --grace 0s --confirm")

    outcome = await manage("apikey rotate 1 --grace 0s --confirm")

    assert "error[apikey-rotated]: key 1 was already rotated; its successor is key 2\n" in (
        outcome.stderr
    )


async def test_the_key_of_an_inactive_user_is_not_rotated(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """The exit code is 77."""
    await make_user("ada")
    await make_key(manage, "--user ada")
    await set_inactive(sessions, "ada")

    outcome = await manage("apikey rotate 1 --confirm")

    assert (77, 1) == (outcome.exit_code, len(await stored(sessions)))
    assert "error[owner-inactive]: ada is inactive\n" in outcome.stderr


@pytest.mark.parametrize(
    ("first", "second", "expected", "states"),
    [
        ("rotate", "rotate", "apikey-rotated", {"grace", "active"}),
        ("rotate", "revoke", "done", {"revoked", "active"}),
        ("revoke", "rotate", "apikey-ended", {"revoked"}),
        ("revoke", "revoke", "unchanged", {"revoked"}),
        ("deactivate", "rotate", "apikey-ended", {"revoked"}),
        ("rotate", "deactivate", "done", {"revoked"}),
        ("deactivate", "create", "owner-inactive", {"revoked"}),
        ("create", "deactivate", "done", {"revoked"}),
    ],
)
async def test_the_second_of_two_concurrent_changes_sees_the_first(
    manage: Manage,
    sessions: Sessions,
    *,
    first: str,
    second: str,
    expected: str,
    states: set[str],
) -> None:
    """It waits until the first has committed, although it has read the key before."""
    await manage(ACCOUNT)
    await make_key(manage)

    async def change_too() -> str:
        async with sessions.begin() as session:
            # The session reads the key before the wait; the change must not rely on these values.
            seen = await apikeys.get(session, "1")
            code = await change(session, second)
            return code if seen.id else ""

    async with sessions.begin() as session:
        await change(session, first)
        later = asyncio.create_task(change_too())
        finished, _ = await asyncio.wait({later}, timeout=0.2)

    assert (set(), expected) == (finished, await later)
    assert states == {key.state(now()) for key in await stored(sessions)}
