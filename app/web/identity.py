"""Authenticate requests by API key and check the scopes of the key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import APIRouter, Depends, HTTPException, Request

from app import scopes
from app.authentication import BadKey, Principal, authenticate
from app.scopes import Scope

if TYPE_CHECKING:
    from oneoff.integrations.asgi import PooledDatabase

CHALLENGE = 'Bearer realm="shop"'

router = APIRouter()
_log = structlog.get_logger(__name__)


async def authenticated(request: Request) -> Principal:
    """Return the owner of the key in `Authorization: Bearer KEY` or `X-API-Key: KEY`.

    Raises:
        HTTPException: 401. The reason is only in the log.
    """
    database: PooledDatabase = request.state.database
    try:
        async with database.session() as session:
            principal = await authenticate(session, _key(request))
    except BadKey as exc:
        _log.info("apikey.refused", reason=exc.reason, key_id=exc.key_id)
        challenge = {"WWW-Authenticate": CHALLENGE}
        raise HTTPException(401, "a valid API key is required", challenge) from None
    structlog.contextvars.bind_contextvars(key_id=principal.key_id)
    return principal


def allowed_to(scope: Scope) -> Callable[..., Awaitable[Principal]]:
    """Return a dependency that returns the caller if the key has this scope, else answers 403."""

    async def check(principal: Annotated[Principal, Depends(authenticated)]) -> Principal:
        if scope not in principal.scopes:
            challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{scope.value}"'
            headers = {"WWW-Authenticate": challenge}
            raise HTTPException(403, f"the key does not have the scope {scope.value!r}", headers)
        return principal

    return check


@router.get("/me")
async def me(principal: Annotated[Principal, Depends(allowed_to(Scope.READ))]) -> dict[str, Any]:
    """Return the owner of the key, its scopes, and when it expires."""
    return {
        "kind": principal.kind,
        "name": principal.name,
        "role": principal.role,
        "scopes": scopes.as_text(principal.scopes).split(),
        "key_id": principal.key_id,
        "expires": principal.expires_at.isoformat(timespec="seconds"),
    }


def bearer_token(request: Request) -> str:
    """Return the token in `Authorization: Bearer TOKEN`, or an empty text."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _key(request: Request) -> str:
    return bearer_token(request) or request.headers.get("X-API-Key", "")
