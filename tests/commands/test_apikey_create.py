"""`apikey create`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from app import apikey_format
from app.scopes import Scope
from tests.support.database import query
from tests.support.keys import ACCOUNT, DAY, listed, make_key, stored, use

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser, Sessions


async def test_a_new_key_is_shown_once_and_works(manage: Manage, sessions: Sessions) -> None:
    """It is only on standard output, not in the log and not in the database."""
    await manage(ACCOUNT)

    outcome = await manage("apikey create --service-account CI --scope write --scope read")

    shown = re.fullmatch(
        r"created key 1 \((shop_\w{8})\) of ci: read write, expires 20\d\d-\d\d-\d\d\n"
        r"key: (\1_\w{49})\n",
        outcome.stdout,
    )
    assert shown, outcome.stdout
    principal = await use(sessions, shown[2])
    assert ("service-account", "ci", None, {Scope.READ, Scope.WRITE}, 1) == (
        principal.kind,
        principal.name,
        principal.role,
        set(principal.scopes),
        principal.key_id,
    )
    url = manage.environ["DATABASE_URL"]
    kept = repr(query(url, "SELECT * FROM api_keys") + query(url, "SELECT * FROM oneoff_runs"))
    assert shown[2] not in outcome.stderr + kept
    assert apikey_format.digest(shown[2]) in kept


async def test_quiet_prints_only_the_key(manage: Manage, sessions: Sessions) -> None:
    """A script can read it from a pipe."""
    await manage(ACCOUNT)

    outcome = await manage("apikey create --service-account ci --quiet")

    assert outcome.stdout.removesuffix("\n").isidentifier()
    assert "ci" == (await use(sessions, outcome.stdout.rstrip("\n"))).name


async def test_json_has_the_key_in_its_data(manage: Manage, sessions: Sessions) -> None:
    """The other data is that of `apikey list`."""
    await manage(ACCOUNT)

    outcome = await manage("apikey create --service-account ci --name deploy --json")

    data = outcome.json["data"]
    assert "ci" == (await use(sessions, data.pop("key"))).name
    assert ("deploy", ["read"], "active") == (data["name"], data["scopes"], data["state"])
    assert [data] == [{**row, "last_used": None} for row in await listed(manage)]


@pytest.mark.parametrize("flag", ["", "--json", "--quiet"])
async def test_a_dry_run_shows_no_key(manage: Manage, sessions: Sessions, flag: str) -> None:
    """Its key is not stored, so it would not work."""
    await manage(ACCOUNT)

    outcome = await manage(f"apikey create --service-account ci --dry-run {flag}")

    assert (0, []) == (outcome.exit_code, await stored(sessions))
    assert not re.search(r"shop_\w{8}_", outcome.stdout + outcome.stderr)


async def test_a_key_of_a_user_has_no_more_rights_than_the_user(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """Scopes are checked when the key is created, and when it is used after a demotion."""
    await make_user("ada", role="admin")
    await make_user("grace")

    refused = await manage("apikey create --user grace --scope admin --scope read")
    key = await make_key(manage, "--user ada@example.com --scope admin --scope read")
    before = set((await use(sessions, key)).scopes)
    await manage("user promote grace admin --confirm")
    await manage("user promote ada user --confirm")
    principal = await use(sessions, key)

    assert 77 == refused.exit_code
    assert (
        "error[scope-not-allowed]: the role user does not allow admin\n"
        "  why:  a key of grace can't do more than grace can\n"
        "  try:  python manage.py apikey create --user grace --scope read --scope write\n"
    ) in refused.stderr
    assert ({Scope.ADMIN, Scope.READ}, {Scope.READ}) == (before, set(principal.scopes))
    assert ("user", "ada", "user") == (principal.kind, principal.name, principal.role)


async def test_an_inactive_owner_gets_no_key(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """The exit code is 77, and the error suggests to activate the user."""
    await make_user("grace", active=False)

    outcome = await manage("apikey create --user grace")

    assert (77, []) == (outcome.exit_code, await stored(sessions))
    assert (
        "error[owner-inactive]: grace is inactive\n"
        "  why:  the keys of an inactive owner do not work\n"
        "  try:  python manage.py user activate grace --confirm\n"
    ) in outcome.stderr


@pytest.mark.parametrize("owners", ["", "--user ada --service-account ci"])
async def test_exactly_one_owner_is_required(manage: Manage, owners: str) -> None:
    """No owner and two owners are usage errors."""
    outcome = await manage(f"apikey create {owners}")

    assert 2 == outcome.exit_code
    assert "exactly one owner is needed: --user or --service-account\n" in outcome.stderr


async def test_an_unknown_scope_is_a_usage_error_with_a_suggestion(manage: Manage) -> None:
    """The exit code is 2."""
    outcome = await manage("apikey create --service-account ci --scope raed")

    assert 2 == outcome.exit_code
    assert "--scope 'raed' is not one of read, write, admin: did you mean read?\n" in outcome.stderr


async def test_scopes_are_a_list_in_json_and_words_in_text(manage: Manage) -> None:
    """JSON has the same list as /me of the web process."""
    await manage(ACCOUNT)
    await make_key(manage, "--service-account ci --scope write --scope read")

    assert [["read", "write"]] == [row["scopes"] for row in await listed(manage)]
    assert " read, write " in (await manage("apikey list")).stdout


async def test_the_end_of_a_short_lived_key_is_shown_with_the_time(manage: Manage) -> None:
    """The date alone would not be enough."""
    await manage(ACCOUNT)

    outcome = await manage("apikey create --service-account ci --expires 1m")

    assert re.search(r"expires 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC\n", outcome.stdout)


async def test_a_lifetime_of_zero_is_refused(manage: Manage, sessions: Sessions) -> None:
    """The exit code is 65, and the error suggests a lifetime."""
    await manage(ACCOUNT)

    outcome = await manage("apikey create --service-account ci --expires 0s")

    assert (65, []) == (outcome.exit_code, await stored(sessions))
    assert (
        "error[bad-apikey]: with a lifetime of 0s the key would never work\n"
        "  try:  give a longer lifetime: --expires 30d\n"
    ) in outcome.stderr


@pytest.mark.parametrize("expires", ["366d", "999999999d"])
async def test_too_long_a_lifetime_is_refused(
    manage: Manage, sessions: Sessions, expires: str
) -> None:
    """The exit code is 65, and the error has the value and the setting."""
    await manage(ACCOUNT)

    outcome = await manage(f"apikey create --service-account ci --expires {expires}")

    assert (65, []) == (outcome.exit_code, await stored(sessions))
    assert (
        f"error[bad-apikey]: a lifetime of {expires} is more than 365d (API_KEY_MAX_DAYS)\n"
        "  why:  a forgotten key must expire\n"
    ) in outcome.stderr


@pytest.mark.parametrize(("options", "days"), [("", 30), ("--expires 7d", 7)])
async def test_the_longest_lifetime_is_a_setting(
    manage: Manage, sessions: Sessions, options: str, days: int
) -> None:
    """Without --expires the lifetime is 90 days, or the setting if that is shorter."""
    await manage(ACCOUNT)

    await manage(
        f"apikey create --service-account ci {options}", environ={"API_KEY_MAX_DAYS": "30"}
    )

    (key,) = await stored(sessions)
    assert days * DAY == key.expires_at - key.created_at


async def test_a_name_is_one_line_of_at_most_100_characters(
    manage: Manage, sessions: Sessions
) -> None:
    """Any other name is bad data, with exit code 65."""
    await manage(ACCOUNT)

    codes = {
        (await manage(["apikey", "create", "--service-account", "ci", "--name", name])).exit_code
        for name in ("x" * 101, "a\nb", "a\x00b")
    }

    assert ({65}, []) == (codes, await stored(sessions))


async def test_a_name_with_a_complete_key_is_refused(manage: Manage, sessions: Sessions) -> None:
    """Every list would show the key."""
    await manage(ACCOUNT)
    key = await make_key(manage)

    for name in (key, f"was {key}", f"{key},old", f"x{key}"):
        refused = await manage(
            ["apikey", "create", "--service-account", "ci", "--name", name, "--json"]
        )
        assert (65, "bad-apikey") == (refused.exit_code, refused.json["error"]["code"])
        assert key not in refused.stdout + refused.stderr
    assert 1 == len(await stored(sessions))
