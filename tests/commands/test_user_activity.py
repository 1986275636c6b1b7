"""`user activate`, `user deactivate` and `user reset-password`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app import users
from app.passwords import verify_password

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser, Sessions


async def test_deactivating_twice_writes_once(manage: Manage, make_user: MakeUser) -> None:
    """The second run reports that the user is already inactive."""
    await make_user("ada")

    outcomes = [await manage("user deactivate ada --confirm") for _ in range(2)]

    assert [(0, 1), (0, 0)] == [(outcome.exit_code, outcome.rows) for outcome in outcomes]
    assert ["ada is now inactive\n", "ada is already inactive\n"] == [
        outcome.stdout for outcome in outcomes
    ]


async def test_activating_twice_writes_once(manage: Manage, make_user: MakeUser) -> None:
    """The second run reports that the user is already active."""
    await make_user("ada", active=False)

    outcomes = [await manage("user activate ada --confirm") for _ in range(2)]

    assert [(0, 1), (0, 0)] == [(outcome.exit_code, outcome.rows) for outcome in outcomes]
    assert ["ada is now active\n", "ada is already active\n"] == [
        outcome.stdout for outcome in outcomes
    ]


async def test_the_last_active_admin_cannot_be_deactivated(
    manage: Manage, make_user: MakeUser
) -> None:
    """Inactive admins do not count."""
    await make_user("ada", role="admin")
    await make_user("grace", role="admin", active=False)

    outcome = await manage("user deactivate ada@example.com --confirm")

    assert 77 == outcome.exit_code
    assert "error[last-admin]: ada is the last active admin\n" in outcome.stderr


async def test_a_reset_replaces_the_old_password(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """The new password is shown once, and works."""
    await make_user("ada")
    async with sessions() as session:
        before = (await users.get(session, "ada")).password_hash

    outcome = await manage("user reset-password ada --generate-password --confirm --quiet")

    async with sessions() as session:
        after = (await users.get(session, "ada")).password_hash
    assert (0, 1) == (outcome.exit_code, outcome.rows)
    assert before != after
    assert await verify_password(after, outcome.stdout.strip())


async def test_a_password_that_is_easy_to_guess_is_refused(
    manage: Manage, make_user: MakeUser
) -> None:
    """For a new user and for a reset; the username adds nothing."""
    await make_user("ada")
    lines = ("user create eve eve@example.com", "user reset-password ada --confirm")

    outcomes = [
        await manage(f"{line} --password-stdin", stdin=f"{name} 123456789012345")
        for line, name in zip(lines, ("eve", "ada"), strict=True)
    ]

    assert [65, 65] == [outcome.exit_code for outcome in outcomes]
    assert all("error[password-too-weak]" in outcome.stderr for outcome in outcomes)


async def test_a_reset_needs_confirmation(manage: Manage, make_user: MakeUser) -> None:
    """Without a terminal and without --confirm it is refused."""
    await make_user("ada")

    assert 77 == (await manage("user reset-password ada --generate-password")).exit_code


async def test_commands_on_unknown_users_fail_with_the_same_error(manage: Manage) -> None:
    """The exit code is 1."""
    lines = [
        "user promote zoe admin --confirm",
        "user activate zoe --confirm",
        "user deactivate zoe --confirm",
        "user reset-password zoe --generate-password --confirm",
    ]

    outcomes = [await manage(line) for line in lines]

    assert [1] * len(lines) == [outcome.exit_code for outcome in outcomes]
    assert all("error[user-not-found]: there is no user 'zoe'" in o.stderr for o in outcomes)
