"""`user list` and `user show`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser

MOMENT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


@pytest.fixture
async def three_users(make_user: MakeUser) -> None:
    """Create an admin, an active user and an inactive user."""
    await make_user("ada", role="admin")
    await make_user("grace")
    await make_user("linus", active=False)


@pytest.mark.usefixtures("three_users")
async def test_a_list_is_a_table_in_order_of_creation(manage: Manage) -> None:
    """The entire output, without the hash."""
    outcome = await manage("user list")

    assert (
        "id  username  email              role   active  created\n"
        " 1  ada       ada@example.com    admin  yes     MOMENT\n"
        " 2  grace     grace@example.com  user   yes     MOMENT\n"
        " 3  linus     linus@example.com  user   no      MOMENT\n"
        "3 of 3 users\n"
    ) == MOMENT.sub("MOMENT", outcome.stdout)


@pytest.mark.usefixtures("three_users")
@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("--limit 1", ["ada"]),
        ("--active-only", ["ada", "grace"]),
        ("--role user", ["grace", "linus"]),
        ("--search LIN", ["linus"]),
        ("--search %", []),
        ("--role user --active-only --search example.com", ["grace"]),
    ],
)
async def test_filters_select_users(manage: Manage, flags: str, found: list[str]) -> None:
    """Each alone, and several together."""
    outcome = await manage(f"user list {flags} --json")

    assert found == [user["username"] for user in outcome.json["data"]]


@pytest.mark.usefixtures("three_users")
async def test_a_limited_list_shows_the_total(manage: Manage) -> None:
    """An operator sees that there are more users."""
    assert (await manage("user list --limit 2")).stdout.endswith("2 of 3 users\n")


async def test_an_empty_list_is_not_an_error(manage: Manage) -> None:
    """The exit code is 0, and JSON has an empty list."""
    outcome = await manage("user list --json")

    assert (0, [], "0 of 0 users") == (
        outcome.exit_code,
        outcome.json["data"],
        outcome.json["message"],
    )


async def test_a_limit_below_one_is_a_usage_error(manage: Manage) -> None:
    """The error names the option and the value, and suggests a command that works."""
    outcome = await manage("user list --limit 0")

    assert 2 == outcome.exit_code
    assert "--limit 0 is less than 1" in outcome.stderr
    assert "try:  python manage.py user list --limit 50" in outcome.stderr


@pytest.mark.usefixtures("three_users")
@pytest.mark.parametrize("who", ["grace", "GRACE@example.com"])
async def test_a_user_is_shown_by_name_or_email(manage: Manage, who: str) -> None:
    """Both are not case-sensitive."""
    outcome = await manage(f"user show {who}")

    assert (
        "id        2\n"
        "username  grace\n"
        "email     grace@example.com\n"
        "role      user\n"
        "active    yes\n"
        "created   MOMENT\n"
    ) == MOMENT.sub("MOMENT", outcome.stdout)


@pytest.mark.usefixtures("three_users")
async def test_an_unknown_user_is_an_error_with_a_suggestion(manage: Manage) -> None:
    """The exit code is 1, and the error suggests the similar name."""
    outcome = await manage("user show grcae")

    assert (1, "") == (outcome.exit_code, outcome.stdout)
    assert (
        "error[user-not-found]: there is no user 'grcae'\n  try:  did you mean grace?\n"
    ) in outcome.stderr
