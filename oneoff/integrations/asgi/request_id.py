"""An id for every request, on every line logged for it, and one event when it has ended."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from time import perf_counter
from typing import Any
from urllib.parse import quote

import structlog

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER = "X-Request-ID"
LONGEST_PATH = 1024
"""Characters of a path that are logged; a server takes some ten thousand."""
_SANE = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestIdMiddleware:
    """Give each request and websocket an id; put it outside of every other middleware.

    The id that a caller or proxy sent is kept if it is a short token: anything else could forge
    log lines. It is bound as `request_id` in `structlog.contextvars`, stands in `scope["state"]`
    under the same name, and goes back in the response.

    A request ends with `request.finished`, a websocket with `websocket.closed`. The query is not
    logged: it may hold secrets.

    Args:
        app: The application.
        quiet: Paths whose good answers are logged at debug only, with all below them: probes.
        header: Name of the header, in requests and responses.
    """

    def __init__(self, app: App, *, quiet: Sequence[str] = (), header: str = HEADER) -> None:
        self._app = app
        self._quiet = tuple(path.rstrip("/") for path in quiet)
        self._name = header.lower().encode("ascii")
        self._log = structlog.get_logger("oneoff.integrations.asgi")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the server."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(receive, send, (self._name, request_id.encode("ascii")))
        # What an earlier request on the same connection has bound must not stay.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = perf_counter()
        try:
            await self._app(scope, answer.receive, answer.send)
        except Exception:
            # Stays bound: the server logs the traceback in this task, and should name the request.
            self._report(scope, answer.code or 500, started)
            raise
        self._report(scope, answer.code, started)
        structlog.contextvars.clear_contextvars()

    def _request_id(self, scope: Scope) -> str:
        sent = next((value for name, value in scope["headers"] if name.lower() == self._name), b"")
        return sent.decode("ascii") if _SANE.fullmatch(sent) else os.urandom(16).hex()

    def _report(self, scope: Scope, code: int | None, started: float) -> None:
        path = _path(scope)
        duration = round((perf_counter() - started) * 1000, 1)
        if scope["type"] == "websocket":
            self._log.info("websocket.closed", path=path, code=code, duration_ms=duration)
            return
        # None: the caller was gone before there was an answer.
        good = code is not None and code < 400  # noqa: PLR2004 - from there on HTTP says error
        write = self._log.debug if good and self._is_quiet(path) else self._log.info
        method = scope["method"]
        write("request.finished", method=method, path=path, status=code, duration_ms=duration)

    def _is_quiet(self, path: str) -> bool:
        return any(path == quiet or path.startswith(f"{quiet}/") for quiet in self._quiet)


class _Answer:
    """Looks at what goes to the caller and comes from it, and adds the header.

    Attributes:
        code: Status of the response, or code that closed the websocket; None before that.
    """

    def __init__(self, receive: Receive, send: Send, header: tuple[bytes, bytes]) -> None:
        self._receive, self._send, self._header = receive, send, header
        self.code: int | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.code = self.code or message.get("code")
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            others = [pair for pair in message.get("headers", ()) if not self._is_ours(pair)]
            message = {**message, "headers": [*others, self._header]}
        if kind == "websocket.close":
            self.code = message.get("code", 1000)
        elif kind.endswith("http.response.start"):
            self.code = message["status"]
        await self._send(message)

    def _is_ours(self, pair: Sequence[bytes]) -> bool:
        return pair[0].lower() == self._header[0]


def _path(scope: Scope) -> str:
    # As sent, percent-encoded: decoded, it could hold line breaks that look like another line.
    raw = scope.get("raw_path")
    text = raw.decode("ascii", "backslashreplace") if raw else quote(scope["path"])
    return str(text)[:LONGEST_PATH]
