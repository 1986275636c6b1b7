"""`apikey rotate`, and what happens at once with it."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from app import apikeys, service_accounts
from oneoff import CommandError
from tests.support.keys import ACCOUNT, DAY, make_key, now, refusal, stored, use

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
    """Do one of the changes that may meet, and return how it ended."""
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
    """The new one has its owner, scopes, name and lifetime, and works from now on."""
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


async def test_without_grace_the_old_key_ends_at_once(manage: Manage, sessions: Sessions) -> None:
    """As one wants it for a key that leaked."""
    await manage(ACCOUNT)
    old = await make_key(manage)

    outcome = await manage("apikey rotate 1 --grace 0s --confirm --quiet")

    assert "expired" == await refusal(sessions, old)
    assert "" == await refusal(sessions, outcome.stdout.rstrip("\n"))


async def test_grace_makes_no_key_live_longer(manage: Manage, sessions: Sessions) -> None:
    """Nor does a grace of a million years break anything."""
    await manage(ACCOUNT)
    await make_key(manage)
    (before,) = await stored(sessions)

    outcome = await manage("apikey rotate 1 --grace 365000000d --confirm")

    assert 0 == outcome.exit_code, outcome.stderr
    assert before.expires_at == (await stored(sessions))[0].expires_at


async def test_a_new_key_lives_no_longer_than_is_allowed_now(
    manage: Manage, sessions: Sessions
) -> None:
    """API_KEY_MAX_DAYS may have been lowered since."""
    await manage(ACCOUNT)
    await make_key(manage)

    await manage("apikey rotate 1 --confirm", environ={"API_KEY_MAX_DAYS": "10"})

    new = (await stored(sessions))[1]
    assert 10 * DAY == new.expires_at - new.created_at


async def test_a_key_that_has_ended_is_not_rotated(manage: Manage, sessions: Sessions) -> None:
    """Exit 1, and the line that makes a new one; the same in a preview."""
    await manage(ACCOUNT)
    await make_key(manage)
    await manage("apikey revoke 1 --confirm")

    outcomes = [await manage(f"apikey rotate 1 {flag}") for flag in ("--confirm", "--dry-run")]

    assert ([1, 1], 1) == ([done.exit_code for done in outcomes], len(await stored(sessions)))
    assert (
        "error[apikey-ended]: key 1 has ended: it is revoked\n"
        "  why:  rotating continues a key that works\n"
        "  try:  python manage.py apikey create --service-account ci\n"
    ) in outcomes[0].stderr


async def test_an_expired_key_is_not_rotated(manage: Manage, sessions: Sessions) -> None:
    """It would be a way to a key that never ends, for whoever stole one."""
    await manage(ACCOUNT)
    await make_key(manage)

    async with sessions() as session:
        with pytest.raises(CommandError, match="key 1 has ended: it is expired"):
            await rotate(session, now() + 91 * DAY)


async def test_a_key_is_rotated_once(manage: Manage, sessions: Sessions) -> None:
    """The message names the key that can be rotated instead."""
    await manage(ACCOUNT)
    await make_key(manage)
    await manage("apikey rotate 1 --confirm")

    outcome = await manage("apikey rotate 1 --confirm")

    assert (1, 2) == (outcome.exit_code, len(await stored(sessions)))
    assert (
        "error[apikey-rotated]: key 1 was rotated already; its successor is key 2\n"
        "  try:  python manage.py apikey rotate 2 --confirm\n"
    ) in outcome.stderr


async def test_the_successor_is_named_though_the_old_key_has_ended(manage: Manage) -> None:
    """Nobody needs a third key."""
    await manage(ACCOUNT)
    await make_key(manage)
    await manage("apikey rotate 1 --grace 0s --confirm")

    outcome = await manage("apikey rotate 1 --grace 0s --confirm")

    assert "error[apikey-rotated]: key 1 was rotated already; its successor is key 2\n" in (
        outcome.stderr
    )


async def test_the_key_of_an_inactive_user_is_not_rotated(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """It works no more than the user."""
    await make_user("ada")
    await make_key(manage, "--user ada")
    await manage("user deactivate ada --confirm")

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
async def test_the_second_of_two_changes_at_once_sees_what_the_first_did(
    manage: Manage,
    sessions: Sessions,
    *,
    first: str,
    second: str,
    expected: str,
    states: set[str],
) -> None:
    """It waits until the first has committed, though it began before."""
    await manage(ACCOUNT)
    await make_key(manage)

    async def change_too() -> str:
        async with sessions.begin() as session:
            # What the session has read before the wait must not be what it decides by.
            seen = await apikeys.get(session, "1")
            code = await change(session, second)
            return code if seen.id else ""

    async with sessions.begin() as session:
        await change(session, first)
        later = asyncio.create_task(change_too())
        finished, _ = await asyncio.wait({later}, timeout=0.2)

    assert (set(), expected) == (finished, await later)
    assert states == {key.state(now()) for key in await stored(sessions)}
