"""`apikey list`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app import apikeys
from tests.support.keys import ACCOUNT, DAY, listed, make_key, now, set_inactive, use

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser, Sessions

MOMENT = re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\+00:00")
PREFIX = re.compile(r"shop_\w{8}")


async def test_the_list_is_a_table_of_the_keys_that_have_not_ended(
    manage: Manage, make_user: MakeUser
) -> None:
    """The entire output, without the hash, and with the prefix as the only part of the key."""
    await make_user("ada")
    await manage(ACCOUNT)
    await make_key(manage, "--user ada --name laptop")
    await make_key(manage)
    await make_key(manage)
    await manage("apikey revoke 2 --confirm")

    outcome = await manage("apikey list")

    shown = PREFIX.sub("<prefix>", MOMENT.sub("<moment>", outcome.stdout))
    assert (
        "id prefix owner state expires last_used scopes name kind created revoked replaced_by_id\n"
        "1 <prefix> ada active <moment> - read laptop user <moment> - -\n"
        "3 <prefix> ci active <moment> - read service-account <moment> - -\n"
        "2 of 2 keys\n"
    ) == re.sub(r"(?m)^ +| +(?= )", "", shown)


async def test_the_list_shows_every_state(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """Keys that have ended are shown with --all."""
    await make_user("ada")
    await manage(ACCOUNT)
    await make_key(manage, "--user ada")
    await make_key(manage)
    await make_key(manage)
    await manage("apikey rotate 2 --confirm")
    await manage("apikey revoke 3 --confirm")
    await set_inactive(sessions, "ada")
    async with sessions.begin() as session:
        owner = await apikeys.find_owner(session, service_account="ci")
        await apikeys.create(session, owner, lifetime=DAY, longest=DAY, now=now() - 2 * DAY)

    states = {row["id"]: row["state"] for row in await listed(manage)}

    assert {1: "owner-inactive", 2: "grace", 3: "revoked", 4: "active", 5: "expired"} == states
    assert [1, 2, 4] == [row["id"] for row in await listed(manage, "")]


async def test_the_list_can_have_one_owner_and_a_limit(manage: Manage, make_user: MakeUser) -> None:
    """The last line also counts keys above the limit."""
    await make_user("ada")
    await manage(ACCOUNT)
    for owner in ("--user ada", "--service-account ci", "--service-account ci"):
        await make_key(manage, owner)

    outcome = await manage("apikey list --service-account ci --limit 1 --json")

    assert ([2], "1 of 2 keys") == (
        [row["id"] for row in outcome.json["data"]],
        outcome.json["message"],
    )
    assert [1] == [row["id"] for row in await listed(manage, "--user ADA@example.com")]
    assert 2 == (await manage("apikey list --limit 0")).exit_code


async def test_one_key_is_counted_in_the_singular(manage: Manage) -> None:
    """Not "1 keys"."""
    await manage(ACCOUNT)
    await make_key(manage)

    assert "1 of 1 key\n" in (await manage("apikey list")).stdout


async def test_the_list_shows_when_a_key_was_last_used(manage: Manage, sessions: Sessions) -> None:
    """The time is empty before the first use."""
    await manage(ACCOUNT)
    key = await make_key(manage)
    at = now().replace(microsecond=0)

    before = await listed(manage)
    await use(sessions, key, at)
    after = await listed(manage)

    assert [None, at.isoformat()] == [before[0]["last_used"], after[0]["last_used"]]
