"""The tasks of the reference project, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from arq import Retry
from sqlalchemy import select, update

from app import tasks
from app.mailer import FileMailer, Mail
from app.models import ApiKey, RoleCount
from app.project import project
from app.settings import ROOT
from oneoff import NotFound, Unavailable
from oneoff.config.settings import load_config
from oneoff.integrations.arq import open_pooled_database
from oneoff.runtime.application import Application
from oneoff.testing import Manage
from tests.support.fixture_types import MakeUser, Sessions


class FailingMailer:
    """A mailer whose server is down."""

    async def send(self, mail: Mail) -> None:
        """Raise `Unavailable`."""
        raise Unavailable(f"no server for {mail.name}", code="mail-server-unreachable")


@pytest.fixture
async def ctx(manage_environ: dict[str, str], tmp_path: Path) -> AsyncIterator[dict[Any, Any]]:
    """Return the `ctx` that the start-up of a worker creates."""
    config = load_config(tmp_path, project, manage_environ)
    async with open_pooled_database(config, service="worker", pool_size=2) as database:
        mailer = FileMailer(tmp_path / "outbox", "shop@example.com")
        application = Application(project, str(ROOT), manage_environ)
        yield {
            "application": application,
            "database": database,
            "mailer": mailer,
            "job_try": 2,
        }


async def test_a_user_gets_one_welcome_mail(
    ctx: dict[Any, Any], make_user: MakeUser, tmp_path: Path
) -> None:
    """Two concurrent runs of the task and a later one send one mail."""
    await make_user("ada")

    both = await asyncio.gather(*(tasks.send_welcome_mail(ctx, 1) for _ in range(2)))
    later = await tasks.send_welcome_mail(ctx, 1)

    assert [False, True] == sorted(each["sent"] for each in both)
    assert {"user_id": 1, "sent": False} == later
    assert ["welcome-1.eml"] == [path.name for path in (tmp_path / "outbox").iterdir()]


async def test_a_mail_that_could_not_be_sent_is_retried(
    ctx: dict[Any, Any], make_user: MakeUser
) -> None:
    """After 20 seconds at the second try; the failed mail does not count as sent."""
    await make_user("ada")
    mailer, ctx["mailer"] = ctx["mailer"], FailingMailer()

    with pytest.raises(Retry) as caught:
        await tasks.send_welcome_mail(ctx, 1)
    ctx["mailer"] = mailer

    assert 20_000 == caught.value.defer_score
    assert {"user_id": 1, "sent": True} == await tasks.send_welcome_mail(ctx, 1)


async def test_a_mail_to_an_unknown_user_fails_without_a_retry(ctx: dict[Any, Any]) -> None:
    """Another try would fail too."""
    with pytest.raises(NotFound):
        await tasks.send_welcome_mail(ctx, 7)


async def test_a_second_report_of_a_day_replaces_the_first(
    ctx: dict[Any, Any], make_user: MakeUser, sessions: Sessions
) -> None:
    """One row for each role and day, with the numbers of the last run."""
    await make_user("ada", role="admin")
    today = datetime.now(UTC).date()
    await asyncio.gather(*(tasks.refresh_report(ctx) for _ in range(2)))
    await make_user("grace")

    again = await tasks.refresh_report(ctx, today)
    before = await tasks.refresh_report(ctx, date(2001, 1, 1))

    assert {"day": today.isoformat(), "user": 1, "moderator": 0, "admin": 1} == again
    assert {"day": "2001-01-01", "user": 0, "moderator": 0, "admin": 0} == before
    async with sessions() as session:
        rows = (await session.scalars(select(RoleCount).where(RoleCount.day == today))).all()
    assert {"user": 1, "moderator": 0, "admin": 1} == {row.role: row.users for row in rows}


async def test_keys_that_expired_long_ago_are_deleted(
    ctx: dict[Any, Any], manage: Manage, sessions: Sessions
) -> None:
    """Each run of the task is recorded as a run of `data cleanup`."""
    await manage("service-account create ci")
    for _ in range(2):
        await manage("apikey create --service-account ci")
    async with sessions.begin() as session:
        long_ago = datetime.now(UTC) - timedelta(days=91)
        await session.execute(update(ApiKey).where(ApiKey.id == 1).values(expires_at=long_ago))

    deleted = [await tasks.expire_keys(ctx), await tasks.expire_keys(ctx)]

    async with sessions() as session:
        assert [2] == list(await session.scalars(select(ApiKey.id)))
    recorded = await manage("audit list --command 'data cleanup' --json")
    assert ([1, 0], 2) == (deleted, len(recorded.json["data"]))
