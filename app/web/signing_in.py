"""Signing in with a password, for people; programs bring an API key."""

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
    """What a person types."""

    user: str
    password: SecretStr


@router.post("/session", status_code=201)
async def sign_in(
    request: Request,
    credentials: Credentials,
    accept_language: Annotated[str, Header()] = "",
) -> dict[str, Any]:
    """Open a session, and return the token that stands for it from now on."""
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
    """Return whose session it is, and in which language to speak to them."""
    database: PooledDatabase = request.state.database
    async with database.session() as session:
        user = await sessions.find(session, authorization.removeprefix("Bearer ").strip())
    if user is None:
        raise HTTPException(401, "sign in first", {"WWW-Authenticate": "Bearer"})
    return {"user": user.username, "role": user.role.value, "locale": user.locale}
