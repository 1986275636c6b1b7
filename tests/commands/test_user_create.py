"""`user create`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from app import users
from app.models import User
from app.passwords import verify_password

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser, Sessions

PASSWORD = "correct horse battery"  # noqa: S105 - only used in tests
LINE = "user create Ada Ada@Example.com"


async def stored_hash(sessions: Sessions, who: str) -> str:
    """Return the hash of a user's password."""
    async with sessions() as session:
        return (await users.get(session, who)).password_hash


async def test_the_password_can_come_from_the_environment(
    manage: Manage, sessions: Sessions
) -> None:
    """It works and is not shown; username and email are stored in lower case."""
    outcome = await manage(f"{LINE} --role admin", environ={"USER_PASSWORD": PASSWORD})

    assert (0, 1, "created ada (admin)\n") == (outcome.exit_code, outcome.rows, outcome.stdout)
    assert PASSWORD not in outcome.stdout + outcome.stderr
    assert await verify_password(await stored_hash(sessions, "ada@example.com"), PASSWORD)


async def test_the_password_can_come_from_standard_input(
    manage: Manage, sessions: Sessions
) -> None:
    """The end of the line is not a part of it."""
    outcome = await manage(f"{LINE} --password-stdin", stdin=f"{PASSWORD}\n")

    assert 0 == outcome.exit_code
    assert await verify_password(await stored_hash(sessions, "ada"), PASSWORD)


async def test_a_generated_password_is_shown_once_and_works(
    manage: Manage, sessions: Sessions
) -> None:
    """It is on standard output, where a script can read it, and not on standard error."""
    outcome = await manage(f"{LINE} --generate-password")

    shown = re.fullmatch(r"created ada \(user\)\npassword: (\S{20,})\n", outcome.stdout)
    assert shown, outcome.stdout
    assert shown[1] not in outcome.stderr
    assert await verify_password(await stored_hash(sessions, "ada"), shown[1])


async def test_json_has_the_user_without_the_hash(manage: Manage) -> None:
    """The data is the same as that of `user show`."""
    outcome = await manage(f"{LINE} --inactive --json", environ={"USER_PASSWORD": PASSWORD})

    data = outcome.json["data"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", data.pop("created"))
    assert {
        "id": 1,
        "username": "ada",
        "email": "ada@example.com",
        "role": "user",
        "active": False,
    } == data


async def test_a_dry_run_creates_no_user(manage: Manage, sessions: Sessions) -> None:
    """It reports the row that the command would insert."""
    outcome = await manage(f"{LINE} --dry-run --json", environ={"USER_PASSWORD": PASSWORD})

    async with sessions() as session:
        count = await session.scalar(select(func.count()).select_from(User))
    assert (0, 0, True, False, 1) == (
        count,
        outcome.exit_code,
        outcome.json["dry_run"],
        outcome.json["changed"],
        outcome.json["tables"]["users"]["inserted"],
    )


async def test_creating_an_existing_user_is_an_error(manage: Manage, make_user: MakeUser) -> None:
    """The exit code is 1, and the error suggests `user show`."""
    await make_user("ada")

    outcome = await manage(LINE, environ={"USER_PASSWORD": PASSWORD})

    assert 1 == outcome.exit_code
    assert (
        "error[user-exists]: the username ada and email ada@example.com are taken\n"
        "  try:  python manage.py user show ada\n"
    ) in outcome.stderr


async def test_with_if_not_exists_an_existing_user_is_not_an_error(
    manage: Manage, make_user: MakeUser
) -> None:
    """Nothing is changed, and a warning shows that the role is different."""
    await make_user("ada")

    outcome = await manage(f"{LINE} --role admin --if-not-exists --generate-password")

    assert (0, 0, "ada already exists\n") == (outcome.exit_code, outcome.rows, outcome.stdout)
    assert "ada is user, not admin; see user promote\n" in outcome.stderr


async def test_a_short_password_is_bad_data(manage: Manage, sessions: Sessions) -> None:
    """The error has both lengths, and no user is created."""
    outcome = await manage(LINE, environ={"USER_PASSWORD": "tr0ub4dor&3"})

    async with sessions() as session:
        count = await session.scalar(select(func.count()).select_from(User))
    assert (65, 0) == (outcome.exit_code, count)
    assert (
        "error[password-too-short]: the password is too short: 11 characters, at least 15 are "
        "needed\n"
    ) in outcome.stderr


async def test_a_short_password_at_the_prompt_is_asked_for_again(manage: Manage) -> None:
    """The second one is long enough, and is typed twice."""
    outcome = await manage(LINE, answers=["too short", *["correct horse battery"] * 2])

    assert 0 == outcome.exit_code, outcome.stderr
    assert "the password is too short: 9 characters, at least 15 are needed; please try again" in (
        outcome.stderr
    )


async def test_the_minimum_length_of_a_password_is_a_setting(manage: Manage) -> None:
    """With a second factor, 8 characters are enough."""
    environ = {"USER_PASSWORD": "tr0ub4dor&3", "PASSWORD_MIN_LENGTH": "8"}

    assert 0 == (await manage(LINE, environ=environ)).exit_code


async def test_a_malformed_email_is_bad_data(manage: Manage) -> None:
    """The exit code is 65, and the error has the address and the reason."""
    outcome = await manage("user create ada ada@localhost --generate-password")

    assert 65 == outcome.exit_code
    assert "error[bad-user]: email 'ada@localhost' is not valid: " in outcome.stderr
    assert "python manage.py user create ada ada@example.com" in outcome.stderr


async def test_without_a_terminal_a_missing_password_is_a_usage_error(manage: Manage) -> None:
    """A prompt is not possible, so the error names the three other ways."""
    outcome = await manage(LINE, environ={"USER_PASSWORD": ""})

    assert 2 == outcome.exit_code
    for way in ("--generate-password", "--password-stdin", "USER_PASSWORD"):
        assert way in outcome.stderr


async def test_on_a_terminal_the_prompt_asks_for_the_password_twice(
    manage: Manage, sessions: Sessions
) -> None:
    """If both are equal, the user is created with it."""
    environ = {"USER_PASSWORD": ""}

    outcome = await manage(LINE, answers=[PASSWORD, PASSWORD], environ=environ)

    assert 0 == outcome.exit_code
    assert await verify_password(await stored_hash(sessions, "ada"), PASSWORD)


async def test_two_different_passwords_create_no_user(manage: Manage, sessions: Sessions) -> None:
    """A typing error must not become the password."""
    environ = {"USER_PASSWORD": ""}

    outcome = await manage(LINE, answers=[PASSWORD, f"{PASSWORD}!"], environ=environ)

    async with sessions() as session:
        count = await session.scalar(select(func.count()).select_from(User))
    assert (2, 0) == (outcome.exit_code, count)
    assert PASSWORD not in outcome.stdout + outcome.stderr
