"""`service-account create` and `service-account list`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from app import service_accounts
from app.models import ServiceAccount
from oneoff import CommandError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.testing import Manage
    from tests.support.fixture_types import Sessions

MOMENT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


async def names(sessions: Sessions) -> list[str]:
    """Return the names of all accounts, in order of creation."""
    async with sessions() as session:
        return list(await session.scalars(select(ServiceAccount.name).order_by("id")))


async def test_an_account_is_created_in_lower_case(manage: Manage) -> None:
    """JSON has all values of the account."""
    outcome = await manage('service-account create CI --description "Deploys" --json')

    data = outcome.json["data"]
    assert MOMENT.fullmatch(data.pop("created"))
    assert {"id": 1, "name": "ci", "description": "Deploys", "active": True} == data
    assert (1, "created the service account ci") == (outcome.rows, outcome.json["message"])


async def test_creating_an_existing_account_is_an_error(manage: Manage) -> None:
    """The exit code is 1, and the error suggests two commands."""
    await manage("service-account create ci")

    outcome = await manage("service-account create Ci")

    assert 1 == outcome.exit_code
    assert (
        "error[service-account-exists]: the service account ci already exists\n"
        "  try:  python manage.py apikey create --service-account ci\n"
        "  try:  python manage.py service-account create ci --if-not-exists\n"
    ) in outcome.stderr


async def test_with_if_not_exists_an_existing_account_is_not_an_error(manage: Manage) -> None:
    """A warning shows that the account is inactive."""
    await manage("service-account create ci")
    await manage("service-account deactivate ci --confirm")

    outcome = await manage("service-account create ci --if-not-exists")

    assert (0, 0, "ci already exists\n") == (outcome.exit_code, outcome.rows, outcome.stdout)
    assert "ci is inactive; see service-account activate\n" in outcome.stderr


async def test_all_problems_of_a_new_account_are_in_one_error(
    manage: Manage, sessions: Sessions
) -> None:
    """Both name and description are wrong, and nothing is written."""
    outcome = await manage(["service-account", "create", "a b", "--description", "x" * 201])

    assert (65, []) == (outcome.exit_code, await names(sessions))
    assert (
        "error[bad-service-account]: name 'a b' is not 1 to 64 letters a-z, digits, '.', '_' or "
        "'-', starting with a letter or digit; the description is not one line of at most 200 "
        "characters\n"
    ) in outcome.stderr


async def test_two_runs_that_create_the_same_account_make_one(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run gets the usual error, and its transaction is still usable."""
    async with sessions.begin() as session:
        await service_accounts.create(session, "ci")
    reads, read = iter([True]), service_accounts._named

    async def too_early_once(session: AsyncSession, name: str) -> ServiceAccount | None:
        return None if next(reads, False) else await read(session, name)

    monkeypatch.setattr(service_accounts, "_named", too_early_once)
    async with sessions() as session:
        with pytest.raises(CommandError) as caught:
            await service_accounts.create(session, "ci")
        alive = len((await session.scalars(select(ServiceAccount.id))).all())

    assert ("service-account-exists", 1) == (caught.value.code, alive)


async def test_the_list_is_sorted_by_name_and_limited(manage: Manage) -> None:
    """The entire output; the last line also counts accounts above the limit."""
    for name in ("shipping", "ci", "old"):
        await manage(f"service-account create {name}")
    await manage("service-account deactivate old --confirm")

    outcome = await manage("service-account list --limit 2")
    active = await manage("service-account list --active-only --json")

    assert (
        "id  name  description  active  created\n"
        " 2  ci                 yes     MOMENT\n"
        " 3  old                no      MOMENT\n"
        "2 of 3 service accounts\n"
    ) == MOMENT.sub("MOMENT", outcome.stdout)
    assert ["ci", "shipping"] == [row["name"] for row in active.json["data"]]
    assert 2 == (await manage("service-account list --limit 0")).exit_code
