"""`session list` and `session revoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app import sessions as service

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import Sessions

WORDS = "correct horse battery"


async def signed_in(manage: Manage, sessions: Sessions, name: str) -> str:
    """Create a user and a session; return the token."""
    line = f"user create {name} {name}@example.com --password-stdin"
    assert 0 == (await manage(line, stdin=WORDS)).exit_code
    async with sessions.begin() as session:
        _, token = await service.sign_in(session, name, WORDS)
    return token.reveal()


async def test_open_sessions_are_listed_without_tokens(manage: Manage, sessions: Sessions) -> None:
    """All of them, or those of one user."""
    token = await signed_in(manage, sessions, "ada")
    await signed_in(manage, sessions, "eve")

    every = (await manage("session list --json")).json["data"]
    of_ada = await manage("session list --user ADA@example.com --json")

    assert [(1, "ada"), (2, "eve")] == [(row["id"], row["user"]) for row in every]
    assert [1] == [row["id"] for row in of_ada.json["data"]]
    assert token not in of_ada.stdout


async def test_a_revoked_session_stops_working(manage: Manage, sessions: Sessions) -> None:
    """Other sessions go on; a session can be revoked once."""
    tokens = [await signed_in(manage, sessions, name) for name in ("ada", "eve")]

    done = [await manage("session revoke 1 --confirm") for _ in range(2)]

    async with sessions() as session:
        users = [await service.find(session, token) for token in tokens]
    assert [None, "eve"] == [user and user.username for user in users]
    assert ["session 1 of ada is revoked\n", ""] == [outcome.stdout for outcome in done]
    assert "error[session-not-found]: there is no session 1\n" in done[1].stderr


async def test_a_number_that_no_session_can_have_is_not_found(manage: Manage) -> None:
    """It does not fit into the column."""
    assert 1 == (await manage(f"session revoke {10**10} --confirm")).exit_code
