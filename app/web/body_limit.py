"""Limit the size of request bodies, which the server would otherwise collect in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST = 64 * 1024
"""Bytes; the largest body of this application is a name and a password."""
_TOO_LARGE = f"the body is larger than {MOST} bytes"


class BodyLimitMiddleware:
    """Answer 413 to a request with a body larger than `MOST`.

    A body with a Content-Length is refused before it is read, one without while it is read.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _declared_length(scope) > MOST:
            await JSONResponse({"detail": _TOO_LARGE}, 413)(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MOST:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, receive_limited, send)


def _declared_length(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    # The server has checked that it is a number.
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0
