"""Answer requests with 503 while a maintenance window is open."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from oneoff.integrations.asgi.protocol import App, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from oneoff.services.maintenance.window import Window

Headers = list[tuple[bytes, bytes]]

RETRY_AFTER = 60
"""Default for `Retry-After` in seconds, if the window has no end."""
BYPASS_HEADER = "X-Maintenance-Bypass"
DEFAULT_MESSAGE = "down for maintenance, please try again later"
_TRY_AGAIN_LATER = 1013  # the close code "Try Again Later" in IANA's registry for RFC 6455
_SHUTDOWN_ENDED = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})


class Reader(Protocol):
    """The part of `oneoff.services.maintenance.reader.MaintenanceReader` that is used here."""

    async def window(self) -> Window | None:
        """Return the open window, or None."""

    @abstractmethod
    def accepts(self, given: bytes, window: Window) -> bool:
        """Return whether the value of a header is the pass for a window."""

    async def aclose(self) -> None:
        """Close the connections."""


class MaintenanceMiddleware:
    """Refuse requests while a window is open, except to exempt paths and with the pass.

    Requests that started before the window are answered, and open websockets stay open. Put this
    middleware outside of authentication and sessions, which may need the database, and inside of
    `RequestIdMiddleware`.

    Args:
        app: The application.
        reader: Reads whether a window is open. It is closed when the application shuts down.
        exempt: Paths that are served as usual, with all paths below them: "/health" includes
            "/health/live", but not "/healthy" or "/health/../me".
        retry_after: Seconds for `Retry-After` if the window has no end.
        header: Name of the header that contains the pass.
    """

    def __init__(
        self,
        app: App,
        *,
        reader: Reader,
        exempt: Sequence[str] = ("/health",),
        retry_after: int = RETRY_AFTER,
        header: str = BYPASS_HEADER,
    ) -> None:
        self._app = app
        self._reader = reader
        self._exempt = tuple(path.rstrip("/") for path in exempt)
        self._retry_after = retry_after
        self._header = header.lower().encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the server."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(scope, receive, send)
            return
        window = await self._refusing_window(scope)
        if window is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._refuse_websocket(window, scope, send)
        else:
            await self._refuse(window, scope, send, "http.response")

    async def _run_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the reader at shutdown, before the answer, after which the server ends the loop."""

        async def send_message(message: Message) -> None:
            if message["type"] in _SHUTDOWN_ENDED:
                await self._reader.aclose()
            await send(message)

        await self._app(scope, receive, send_message)

    async def _refusing_window(self, scope: Scope) -> Window | None:
        """Return the open window if it refuses this connection, else None."""
        if scope["type"] not in {"http", "websocket"} or self._is_exempt(scope):
            return None
        window = await self._reader.window()
        if window is None or any(
            self._reader.accepts(given, window) for given in _values(scope, self._header)
        ):
            return None
        return window

    def _is_exempt(self, scope: Scope) -> bool:
        path: str = scope["path"]
        # `root_path` is the prefix under which the application is mounted. Some servers include it
        # in `path`, others don't.
        root = scope.get("root_path", "").rstrip("/")
        if root and path.startswith(f"{root}/"):
            path = path[len(root) :]
        return any(
            path == own or (path.startswith(f"{own}/") and not _may_leave(path[len(own) :]))
            for own in self._exempt
        )

    async def _refuse_websocket(self, window: Window, scope: Scope, send: Send) -> None:
        # With the extension, the client gets status 503 and the message; without it, only a 403.
        if "websocket.http.response" in (scope.get("extensions") or {}):
            await self._refuse(window, scope, send, "websocket.http.response")
        else:
            await send(
                {"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": "maintenance"}
            )

    async def _refuse(self, window: Window, scope: Scope, send: Send, event: str) -> None:
        kind, body = _body(window, scope)
        headers: Headers = [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"retry-after", str(window.seconds_left() or self._retry_after).encode()),
        ]
        await send({"type": f"{event}.start", "status": 503, "headers": headers})
        bodiless = scope.get("method") == "HEAD"
        await send({"type": f"{event}.body", "body": b"" if bodiless else body})


def _may_leave(rest: str) -> bool:
    """Return whether a proxy or framework could resolve the rest of a path to a parent path."""
    # Servers decode a path once. A remaining "%" was encoded twice, and another program may decode
    # it again. A backslash may be read as a slash, and `..;x` as `..` (path parameters).
    segments = rest.replace("\\", "/").split("/")
    return "%" in rest or any(segment.partition(";")[0] == ".." for segment in segments)


def _body(window: Window, scope: Scope) -> tuple[bytes, bytes]:
    """Return content type and body: text for browsers, otherwise a problem document (RFC 9457)."""
    message = window.message or DEFAULT_MESSAGE
    if _prefers_text(b",".join(_values(scope, b"accept")).decode("latin-1")):
        return b"text/plain; charset=utf-8", f"{message}\n".encode()
    problem = {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": message,
    }
    return b"application/problem+json", json.dumps(problem).encode()


def _values(scope: Scope, name: bytes) -> Iterator[bytes]:
    return (value for key, value in scope.get("headers") or () if key.lower() == name)


def _prefers_text(accept: str) -> bool:
    """Return whether an Accept header prefers text to JSON, as those of browsers do."""
    text = json_ = any_type = 0.0
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        quality = _quality(parameters)
        if kind.startswith("text/"):
            text = max(text, quality)
        elif kind.endswith("json"):
            json_ = max(json_, quality)
        elif kind in {"*/*", "application/*"}:
            any_type = max(any_type, quality)
    return text > (json_ or any_type)


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
