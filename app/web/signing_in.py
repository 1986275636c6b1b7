"""Sign in with a password; see and end sessions. This is for people; programs use an API key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import APIRouter, Header, HTTPException, Request
from pydantic import BaseModel, SecretStr

from app import sessions
from app.web.identity import bearer_token
from oneoff import NotFound

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.models import Session
    from oneoff.integrations.asgi import PooledDatabase

MOST_LISTED = 100
"""The maximum number of sessions that are listed."""

router = APIRouter()
_log = structlog.get_logger(__name__)


class Credentials(BaseModel):
    """The name and the password that a person typed."""

    user: str
    password: SecretStr


@router.post("/session", status_code=201)
async def sign_in(
    request: Request,
    credentials: Credentials,
    accept_language: Annotated[str, Header()] = "",
) -> dict[str, Any]:
    """Open a session and return its token."""
    database: PooledDatabase = request.state.database
    async with database.session() as session:
        try:
            opened, token = await sessions.sign_in(
                session,
                credentials.user,
                credentials.password.get_secret_value(),
                accept_language=accept_language,
            )
        except sessions.BadSignIn as exc:
            # Caught inside the transaction, which commits: refused sign-ins are counted.
            refused: sessions.BadSignIn = exc
        else:
            return {"token": token.reveal(), "expires": opened.expires_at.isoformat()}
    if isinstance(refused, sessions.TooManySignIns):
        _log.info("session.throttled")
        headers = {"Retry-After": str(ceil(refused.wait.total_seconds()))}
        raise HTTPException(429, "too many sign-ins were refused, try again later", headers)
    _log.info("session.refused")
    raise HTTPException(401, "user or password is wrong")


@router.get("/session")
async def who(request: Request) -> dict[str, Any]:
    """Return the user of the session, with role and locale."""
    async with _signed_in(request) as (_, own):
        return {"user": own.user.username, "role": own.user.role.value, "locale": own.user.locale}


@router.delete("/session", status_code=204)
async def sign_out(request: Request) -> None:
    """End the session of the token."""
    async with _signed_in(request) as (session, own):
        await sessions.end(session, own.id)


@router.get("/sessions")
async def list_sessions(request: Request) -> list[dict[str, Any]]:
    """Return the open sessions of the user, oldest first."""
    async with _signed_in(request) as (session, own):
        found, _ = await sessions.matching(
            session, limit=MOST_LISTED, user=own.user, now=datetime.now(UTC)
        )
        return [{**item.public(), "current": item.id == own.id} for item in found]


@router.delete("/sessions/{number}", status_code=204)
async def end_session(request: Request, number: int) -> None:
    """End one session of the user."""
    async with _signed_in(request) as (session, own):
        try:
            await sessions.end(session, number, user=own.user)
        except NotFound as exc:
            raise HTTPException(404, exc.message) from None


@asynccontextmanager
async def _signed_in(request: Request) -> AsyncIterator[tuple[AsyncSession, Session]]:
    """Open a transaction, and yield it with the session of the token; answer 401 without one."""
    database: PooledDatabase = request.state.database
    async with database.session() as session:
        own = await sessions.current(session, bearer_token(request))
        if own is None:
            raise HTTPException(401, "sign in first", {"WWW-Authenticate": "Bearer"})
        yield session, own
