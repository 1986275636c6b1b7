"""Sign in with a password. This is for people; programs use an API key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import APIRouter, Header, HTTPException, Request
from pydantic import BaseModel, SecretStr

from app import sessions

if TYPE_CHECKING:
    from oneoff.integrations.asgi import PooledDatabase

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
    try:
        async with database.session() as session:
            opened, token = await sessions.sign_in(
                session,
                credentials.user,
                credentials.password.get_secret_value(),
                accept_language=accept_language,
            )
    except sessions.BadSignIn:
        _log.info("session.refused")
        raise HTTPException(401, "user or password is wrong") from None
    return {"token": token.reveal(), "expires": opened.expires_at.isoformat()}


@router.get("/session")
async def who(request: Request, authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
    """Return the user of the session, with role and locale."""
    database: PooledDatabase = request.state.database
    async with database.session() as session:
        user = await sessions.find(session, authorization.removeprefix("Bearer ").strip())
    if user is None:
        raise HTTPException(401, "sign in first", {"WWW-Authenticate": "Bearer"})
    return {"user": user.username, "role": user.role.value, "locale": user.locale}
