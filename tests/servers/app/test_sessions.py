"""Signing in with a password."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import argon2
import pytest
from sqlalchemy import func, select

from app import passwords, users
from app import sessions as service
from app.models import Event, Session, User
from oneoff.testing import Manage
from tests.support.fixture_types import Sessions

WORDS = "correct horse battery"
GERMAN = "de-DE,de;q=0.9,en;q=0.8"


@pytest.fixture(autouse=True)
async def ada(manage: Manage) -> None:
    """Create a user with a password."""
    done = await manage("user create ada ada@example.com --password-stdin", stdin=WORDS)
    assert 0 == done.exit_code, done.stderr


async def test_signing_in_opens_a_session_and_stores_an_event(sessions: Sessions) -> None:
    """The email is not case-sensitive, and the token itself is not stored."""
    async with sessions.begin() as session:
        opened, token = await service.sign_in(
            session, " ADA@example.com ", WORDS, accept_language=GERMAN
        )
    async with sessions() as session:
        found = await service.find(session, token.reveal())
        stored = await session.scalar(select(Session.token_hash))
        events = (await session.scalars(select(Event.kind))).all()

    assert found is not None
    assert ("ada", "de", GERMAN) == (found.username, found.locale, found.accept_language)
    assert timedelta(hours=12) == opened.expires_at - opened.created_at
    assert token.reveal() != stored
    assert ["session.opened"] == events


@pytest.mark.parametrize(("who", "password"), [("ada", "wrong"), ("eve", WORDS), ("", "")])
async def test_a_wrong_name_or_password_opens_no_session(
    sessions: Sessions, who: str, password: str
) -> None:
    """The table of sessions stays empty."""
    async with sessions() as session:
        with pytest.raises(service.BadSignIn):
            await service.sign_in(session, who, password)

        assert (await session.scalars(select(Session.id))).all() == []


async def test_an_inactive_user_cannot_sign_in_or_use_a_session(
    manage: Manage, sessions: Sessions
) -> None:
    """An open session ends when the user is deactivated."""
    async with sessions.begin() as session:
        _, token = await service.sign_in(session, "ada", WORDS)
        user = await session.scalar(select(User))
        assert user is not None
        user.active = False

    async with sessions() as session:
        with pytest.raises(service.BadSignIn):
            await service.sign_in(session, "ada", WORDS)
        assert await service.find(session, token.reveal()) is None


@pytest.mark.parametrize(
    "line",
    ["user deactivate ada --confirm", "user reset-password ada --generate-password --confirm"],
)
async def test_a_session_ends_with_the_password_or_the_account(
    manage: Manage, sessions: Sessions, line: str
) -> None:
    """Permanently: also when the user is active again. The command counts what it ended."""
    async with sessions.begin() as session:
        _, token = await service.sign_in(session, "ada", WORDS)

    done = await manage(line)
    await manage("user activate ada --confirm")

    assert 2 == done.rows
    assert "; 1 session and 0 API keys ended\n" in done.stdout
    async with sessions() as session:
        assert await service.find(session, token.reveal()) is None


async def test_a_sign_in_fails_if_the_password_is_reset_meanwhile(
    manage: Manage, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its session would outlive the reset."""
    if manage.environ["DATABASE_URL"].startswith("sqlite"):
        pytest.skip("SQLite has one writer at a time")
    verify = passwords.verify_password

    async def verify_and_reset(stored: str, password: str) -> bool:
        right = await verify(stored, password)
        await manage("user reset-password ada --generate-password --confirm")
        return right

    monkeypatch.setattr(passwords, "verify_password", verify_and_reset)
    async with sessions.begin() as session:
        with pytest.raises(service.BadSignIn):
            await service.sign_in(session, "ada", WORDS)

    async with sessions() as session:
        assert (await session.scalars(select(Session.id))).all() == []


@pytest.mark.parametrize("who", ["ada", "eve"])
async def test_refused_sign_ins_with_one_name_are_throttled(sessions: Sessions, who: str) -> None:
    """In each spelling, whether or not the user exists, and only within the window."""
    now = datetime.now(UTC)

    async def attempt(name: str, at: datetime) -> type[BaseException]:
        async with sessions.begin() as session:
            with pytest.raises(service.BadSignIn) as caught:
                await service.sign_in(session, name, "wrong", now=at)
        return caught.type

    before = {await attempt(f" {who.upper()}", now) for _ in range(service.FAILURES)}
    later = [await attempt(who, now + service.WINDOW * part) for part in (0, 0.99, 1)]

    assert {service.BadSignIn} == before
    assert [service.TooManySignIns, service.TooManySignIns, service.BadSignIn] == later
    async with sessions.begin() as session:
        other = await session.scalar(select(func.count()).select_from(Event))
        assert service.FAILURES + 1 == other


@pytest.mark.parametrize("who", ["ada", "idle", "off", "nobody", "\ud800"])
async def test_each_refused_sign_in_costs_the_same_work(
    manage: Manage, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """One hash with the current costs: wrong, without a password, inactive, unknown, no name."""
    await manage("user create off off@example.com --inactive --generate-password")
    async with sessions.begin() as session:
        await users.create(session, "idle", "idle@example.com", password_hash=passwords.UNUSABLE)
    verify, computed = argon2.PasswordHasher.verify, []

    def counting(self: argon2.PasswordHasher, stored: str, password: bytes) -> bool:
        computed.append(argon2.extract_parameters(stored))
        return verify(self, stored, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counting)
    async with sessions() as session:
        with pytest.raises(service.BadSignIn):
            await service.sign_in(session, who, "wrong")

    assert [argon2.extract_parameters(passwords.HASHER.hash(""))] == computed


async def test_a_header_that_cannot_be_stored_is_ignored(sessions: Sessions) -> None:
    """The sign-in succeeds without it."""
    async with sessions.begin() as session:
        opened, _ = await service.sign_in(session, "ada", WORDS, accept_language="de\x00")

    assert opened.user.accept_language is None


async def test_a_session_expires_after_twelve_hours(sessions: Sessions) -> None:
    """It works shortly before that time."""
    now = datetime.now(UTC)
    async with sessions.begin() as session:
        _, token = await service.sign_in(session, "ada", WORDS, now=now)
    async with sessions() as session:
        before = await service.find(session, token.reveal(), now=now + timedelta(hours=11.9))
        after = await service.find(session, token.reveal(), now=now + timedelta(hours=12))

    assert before is not None
    assert after is None
