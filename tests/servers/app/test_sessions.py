"""Signing in with a password."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

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
