"""Answer 503 while a maintenance window is open."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from oneoff.services.maintenance.window import Window

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

RETRY_AFTER = 60
"""Seconds after which a client may ask again, where the window has no end of its own."""
BYPASS_HEADER = "X-Maintenance-Bypass"
DEFAULT_MESSAGE = "down for maintenance, please try again later"
_TRY_AGAIN_LATER = 1013  # the close code of RFC 6455's registry for it
_LAST_WORDS = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})


class Reader(Protocol):
    """What the middleware asks: an `oneoff.services.maintenance.reader.MaintenanceReader`."""

    async def window(self) -> Window | None:
        """Return the window that is open."""

    @abstractmethod
    def accepts(self, given: bytes, window: Window) -> bool:
        """Return whether a client holds the pass through this window."""

    async def aclose(self) -> None:
        """Close what it keeps open."""


class MaintenanceMiddleware:
    """Keep requests out while a window is open, except probes and whoever holds the pass.

    A request that is under way when the window opens ends as usual, and a websocket that is open
    stays so. Put it outside of authentication and sessions, which may need the database, and
    inside of what gives requests their ids.

    Args:
        app: The application.
        reader: Knows whether a window is open; it is closed when the application shuts down.
        exempt: Paths that go on being served, with all below them: "/health" is also
            "/health/live", and not "/healthy" or "/health/../me".
        retry_after: Seconds for `Retry-After` where the window has no end of its own.
        header: Name of the header that holds the pass.
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
            await self._live(scope, receive, send)
            return
        window = await self._shut_by(scope)
        if window is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._refuse_websocket(window, scope, send)
        else:
            await self._refuse(window, scope, send, "http.response")

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the reader before the server hears that all is done: it ends the loop then."""

        async def send_last(message: Message) -> None:
            if message["type"] in _LAST_WORDS:
                await self._reader.aclose()
            await send(message)

        await self._app(scope, receive, send_last)

    async def _shut_by(self, scope: Scope) -> Window | None:
        """Return the window that keeps this connection out."""
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
        # Servers put the prefix under which the application is mounted before the path, or don't.
        root = scope.get("root_path", "").rstrip("/")
        if root and path.startswith(f"{root}/"):
            path = path[len(root) :]
        return any(
            path == own or (path.startswith(f"{own}/") and not _may_leave(path[len(own) :]))
            for own in self._exempt
        )

    async def _refuse_websocket(self, window: Window, scope: Scope, send: Send) -> None:
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
    """Return whether what follows an exempt path could lead out of it in somebody's reading.

    Servers decode a path once; a "%" that is left was encoded twice, for whoever decodes again.
    """
    segments = rest.replace("\\", "/").split("/")
    return "%" in rest or any(segment.partition(";")[0] == ".." for segment in segments)


def _body(window: Window, scope: Scope) -> tuple[bytes, bytes]:
    """Return content type and body: the message, as the client likes to read it."""
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
    """Return whether an Accept header likes text better than JSON, as a browser's does."""
    text = json_ = anything = 0.0
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        quality = _quality(parameters)
        if kind.startswith("text/"):
            text = max(text, quality)
        elif kind.endswith("json"):
            json_ = max(json_, quality)
        elif kind in {"*/*", "application/*"}:
            anything = max(anything, quality)
    return text > (json_ or anything)


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
