"""The rules about users that commands and the web API share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from app import apikeys, service_accounts, users
from app.models import User
from app.passwords import UNUSABLE
from app.roles import Role
from app.seeds import SEEDS
from oneoff import CommandError, DataError, NotFound, Refused

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from tests.support.fixture_types import Sessions


async def add(sessions: Sessions, *usernames: str, role: Role = Role.USER) -> None:
    """Create users with the email `NAME@example.com`."""
    async with sessions.begin() as session:
        for name in usernames:
            await users.create(
                session, name, f"{name}@example.com", password_hash=UNUSABLE, role=role
            )


async def names(sessions: Sessions, **filters: object) -> list[str]:
    """Return the usernames in a listing."""
    async with sessions() as session:
        found, _ = await users.matching(session, **{"limit": 50, **filters})  # type: ignore[arg-type]
    return [user.username for user in found]


async def test_a_user_is_stored_in_lower_case_and_found_in_any(sessions: Sessions) -> None:
    """Username and email are not case-sensitive."""
    async with sessions.begin() as session:
        made, created = await users.create(
            session, " Ada ", "Ada.L@Example.COM", password_hash=UNUSABLE
        )
        found = {await users.get(session, who) for who in ("ADA", "ada.l@example.com ")}

    assert (True, "ada", "ada.l@example.com") == (created, made.username, made.email)
    assert {made} == found


@pytest.mark.parametrize(
    "who",
    [
        "ada@xn--bcher-kva.example",
        "ADA@B\u00dcCHER.example",
        "ada@bu\u0308cher.example",
        "\uff21da",
    ],
)
async def test_a_user_is_found_by_each_spelling_of_name_and_address(
    sessions: Sessions, who: str
) -> None:
    """In each function: one of them with its own form would miss the user, or the last admin."""
    async with sessions.begin() as session:
        await users.create(
            session, "ada", "ada@b\u00fccher.example", password_hash=UNUSABLE, role=Role.ADMIN
        )
    username, email = ("new", who) if "@" in who else (who, "new@example.com")

    async with sessions() as session:
        found = await users.get(session, who)
        searched, _ = await users.matching(session, limit=2, search=who)
        with pytest.raises(Refused, match="ada is the last active admin"):
            await users.deactivate(session, who)
        with pytest.raises(CommandError, match="taken"):
            await users.create(session, username, email, password_hash=UNUSABLE)

    assert ("ada", ["ada"]) == (found.username, [user.username for user in searched])


@pytest.mark.parametrize("who", ["\ud800", "a\x00b", "\udcff@example.com"])
async def test_text_that_cannot_be_stored_names_nobody(sessions: Sessions, who: str) -> None:
    """On both databases the answer is the usual one, and the transaction stays usable."""
    await add(sessions, "ada")

    async with sessions() as session:
        for find in (users.get, service_accounts.get, apikeys.get):
            with pytest.raises(NotFound):
                await find(session, who)
        assert ([], 0) == await users.matching(session, limit=2, search=who)
        with pytest.raises(DataError):
            await users.create(session, who, who, password_hash=UNUSABLE)
        with pytest.raises(DataError):
            await service_accounts.create(session, "ci", description=who)
        assert "ada" == (await users.get(session, "ada")).username


@pytest.mark.parametrize(
    ("username", "email"),
    [("ADA", "other@example.com"), ("other", "ADA@example.com"), ("ada", "ada@example.com")],
)
async def test_a_taken_name_or_email_is_an_error_in_any_case(
    sessions: Sessions, username: str, email: str
) -> None:
    """The error suggests to show the existing user."""
    await add(sessions, "ada")

    async with sessions() as session:
        with pytest.raises(CommandError) as caught:
            await users.create(session, username, email, password_hash=UNUSABLE)

    assert "user-exists" == caught.value.code
    assert ("python manage.py user show ada",) == caught.value.try_


async def test_if_not_exists_returns_the_same_user_and_refuses_another(sessions: Sessions) -> None:
    """Only a user with the same username and the same email counts as existing."""
    await add(sessions, "ada")

    async with sessions() as session:
        found, created = await users.create(
            session, "ada", "ada@example.com", password_hash=UNUSABLE, if_not_exists=True
        )
        with pytest.raises(CommandError, match="the username ada is taken"):
            await users.create(
                session, "ada", "new@example.com", password_hash=UNUSABLE, if_not_exists=True
            )

    assert ("ada", False) == (found.username, created)


async def test_all_problems_of_a_new_user_are_in_one_error(sessions: Sessions) -> None:
    """Both problems, each with the value."""
    async with sessions() as session:
        with pytest.raises(DataError) as caught:
            await users.create(session, "-rf /", "ada@example", password_hash=UNUSABLE)

    assert (
        "username '-rf /' is not 1 to 64 letters a-z, digits, '.', '_' or '-', starting with a "
        "letter or digit; email 'ada@example' is not valid: the part after the @-sign is not "
        "valid. It should have a period"
    ) == caught.value.message


async def test_two_runs_that_create_the_same_user_make_one(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run gets the usual error, and its transaction is still usable."""
    await add(sessions, "ada")
    reads = iter([True])
    read = users._holders

    async def too_early_once(session: AsyncSession, *names: str) -> object:
        return [] if next(reads, False) else await read(session, *names)

    monkeypatch.setattr(users, "_holders", too_early_once)
    async with sessions() as session:
        with pytest.raises(CommandError) as caught:
            await users.create(session, "ada", "ada@example.com", password_hash=UNUSABLE)
        alive = await session.scalar(select(func.count()).select_from(User))

    assert ("user-exists", 1) == (caught.value.code, alive)


async def test_an_unknown_user_gets_a_suggestion(sessions: Sessions) -> None:
    """Similar names, or the command that lists users."""
    await add(sessions, "ada", "adam", "grace")
    hints = []

    async with sessions() as session:
        for who in ("adda", "grace@exmple.com", "zoe"):
            with pytest.raises(NotFound) as caught:
                await users.get(session, who)
            hints.append(caught.value.try_)

    assert [
        ("did you mean ada or adam?",),
        ("did you mean grace@example.com?",),
        ("python manage.py user list",),
    ] == hints


async def test_a_listing_is_in_order_of_creation_and_limited(sessions: Sessions) -> None:
    """The total also counts users above the limit."""
    await add(sessions, "grace", "ada", "linus")

    async with sessions() as session:
        found, total = await users.matching(session, limit=2)

    assert (["grace", "ada"], 3) == ([user.username for user in found], total)


async def test_filters_of_a_listing_can_be_combined(sessions: Sessions) -> None:
    """Role, activity, and a part of the name or email."""
    await add(sessions, "ada", "grace", role=Role.ADMIN)
    await add(sessions, "adam")
    async with sessions.begin() as session:
        await users.deactivate(session, "grace")

    assert ["ada", "grace"] == await names(sessions, role=Role.ADMIN)
    assert ["ada", "adam"] == await names(sessions, active_only=True)
    assert ["adam"] == await names(sessions, search="ADAM@EX")
    assert ["ada"] == await names(sessions, search="ad", role=Role.ADMIN, active_only=True)


async def test_a_search_has_no_wildcards(sessions: Sessions) -> None:
    """`%` and `_` are ordinary characters."""
    await add(sessions, "ada", "a_a")

    found = [await names(sessions, search=text) for text in ("%", "_", "a_", "/", "' OR 1=1 --")]

    assert [[], ["a_a"], ["a_a"], [], []] == found


async def test_promoting_returns_the_previous_role(sessions: Sessions) -> None:
    """The caller can see whether the role has changed."""
    await add(sessions, "ada")

    async with sessions.begin() as session:
        befores = [(await users.promote(session, "ada", role))[1] for role in (Role.ADMIN,) * 2]

    assert [Role.USER, Role.ADMIN] == befores


async def test_activating_and_deactivating_return_the_previous_state(sessions: Sessions) -> None:
    """The caller can see whether the state has changed."""
    await add(sessions, "ada")

    async with sessions.begin() as session:
        befores = [
            (await change(session, "ada"))[1]
            for change in (users.deactivate, users.deactivate, users.activate, users.activate)
        ]

    assert [True, False, False, True] == befores


@pytest.mark.parametrize("who", ["ada", "ADA@example.com"])
async def test_the_last_active_admin_cannot_be_demoted(sessions: Sessions, who: str) -> None:
    """Or deactivated, by username or email. Inactive admins do not count."""
    await add(sessions, "ada", "grace", role=Role.ADMIN)
    async with sessions.begin() as session:
        await users.deactivate(session, "grace")

    async with sessions() as session:
        with pytest.raises(Refused, match="ada is the last active admin"):
            await users.promote(session, who, Role.USER)
        with pytest.raises(Refused, match="ada is the last active admin"):
            await users.deactivate(session, who)
        same = await users.promote(session, who, Role.ADMIN)
        inactive = await users.promote(session, "grace", Role.USER)

    assert (Role.ADMIN, Role.ADMIN) == (same[1], inactive[1])


async def test_two_concurrent_runs_cannot_demote_the_last_two_admins(sessions: Sessions) -> None:
    """The second run waits for the first one, and is then refused."""
    await add(sessions, "ada", "grace", role=Role.ADMIN)

    async def demote_grace() -> None:
        async with sessions.begin() as session:
            await users.promote(session, "grace", Role.USER)

    async with sessions.begin() as session:
        await users.promote(session, "ada", Role.USER)
        second = asyncio.create_task(demote_grace())
        finished, _ = await asyncio.wait({second}, timeout=0.2)

    assert set() == finished
    with pytest.raises(Refused, match="grace is the last active admin"):
        await second


async def test_the_database_enforces_lower_case(sessions: Sessions) -> None:
    """Code that bypasses the service can't store "Ada" beside "ada"."""
    await add(sessions, "ada")

    async with sessions() as session:
        with pytest.raises(IntegrityError):
            await session.execute(update(User).values(username="Ada"))


async def test_the_time_of_creation_is_in_utc(sessions: Sessions) -> None:
    """On both databases it is aware, with offset zero."""
    await add(sessions, "ada")

    async with sessions() as session:
        offset = (await users.get(session, "ada")).created_at.strftime("%z")

    assert "+0000" == offset


async def test_seeding_twice_writes_once(sessions: Sessions) -> None:
    """Each sample user is created once, and none of them can sign in."""
    (seed,) = SEEDS

    async with sessions.begin() as session:
        written = [await seed.run(session), await seed.run(session)]
        hashes = set(await session.scalars(select(User.password_hash)))

    assert ([3, 0], {UNUSABLE}, False) == (written, hashes, seed.production)
