"""Give every request an id, bind it to the log, and log one event when the request ends."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from time import perf_counter
from urllib.parse import quote

import structlog

from oneoff.integrations.asgi.protocol import App, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
LONGEST_PATH = 1024
"""Characters of a path that are logged. Servers accept paths of several thousand characters."""
_VALID_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestIdMiddleware:
    """Give each request and websocket an id. Put it outside of every other middleware.

    An id that a client or proxy sends is used if it is a short token; other text could forge log
    lines. The id is bound in `structlog.contextvars` and stored in `scope["state"]`, both as
    `request_id`, and sent in the response.

    The end of a request is logged as `request.finished`, that of a websocket as `websocket.closed`.
    The query string is not logged, because it may contain secrets.

    Args:
        app: The application.
        quiet: Paths, with all paths below them, whose successful requests are logged at debug
            level, such as those of health checks.
        header: Name of the header in requests and responses.
    """

    def __init__(self, app: App, *, quiet: Sequence[str] = (), header: str = HEADER) -> None:
        self._app = app
        self._quiet = tuple(path.rstrip("/") for path in quiet)
        self._name = header.lower().encode("ascii")
        self._log = structlog.get_logger("oneoff.asgi")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the server."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        response = _Response(receive, send, (self._name, request_id.encode("ascii")))
        # Servers may handle several requests of a connection in one context. Remove the variables
        # that an earlier request has bound.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = perf_counter()
        try:
            await self._app(scope, response.receive, response.send)
        except Exception:
            # The id stays bound: the server logs the traceback in this task, with the id.
            self._report(scope, response.code or 500, started)
            raise
        self._report(scope, response.code, started)
        structlog.contextvars.clear_contextvars()

    def _request_id(self, scope: Scope) -> str:
        sent = next((value for name, value in scope["headers"] if name.lower() == self._name), b"")
        return sent.decode("ascii") if _VALID_ID.fullmatch(sent) else os.urandom(16).hex()

    def _report(self, scope: Scope, code: int | None, started: float) -> None:
        path = _path(scope)
        duration = round((perf_counter() - started) * 1000, 1)
        if scope["type"] == "websocket":
            self._log.info("websocket.closed", path=path, code=code, duration_ms=duration)
            return
        # None means that the client closed the connection before there was a response.
        successful = code is not None and code < 400  # noqa: PLR2004 - the first error status
        write = self._log.debug if successful and self._is_quiet(path) else self._log.info
        method = scope["method"]
        write("request.finished", method=method, path=path, status=code, duration_ms=duration)

    def _is_quiet(self, path: str) -> bool:
        return any(path == quiet or path.startswith(f"{quiet}/") for quiet in self._quiet)


class _Response:
    """Wraps `receive` and `send` to add the header and to record how the connection ends.

    Attributes:
        code: Status of the response, or close code of the websocket; None until it is known.
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
        # Only these three messages can have headers.
        if kind in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            name = self._header[0]
            others = [pair for pair in message.get("headers", ()) if pair[0].lower() != name]
            message = {**message, "headers": [*others, self._header]}
        if kind == "websocket.close":
            self.code = message.get("code", 1000)
        elif kind.endswith("http.response.start"):
            self.code = message["status"]
        await self._send(message)


def _path(scope: Scope) -> str:
    # Percent-encoded, as sent: a decoded path could contain line breaks and forge a log line.
    raw = scope.get("raw_path")
    text = raw.decode("ascii", "backslashreplace") if raw else quote(scope["path"])
    return str(text)[:LONGEST_PATH]
