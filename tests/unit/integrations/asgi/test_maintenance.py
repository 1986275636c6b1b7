"""The middleware that answers 503, in any ASGI framework."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from oneoff.integrations.asgi.maintenance import DEFAULT_MESSAGE, MaintenanceMiddleware
from oneoff.services.maintenance.window import Window, is_pass, make_pass

if TYPE_CHECKING:
    from starlette.requests import Request

KEY = "k" * 32
WINDOW = Window("w1", datetime.now(UTC), message="back at 14:00")
Scope = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]


class FakeReader:
    """A reader with the window that the test chooses."""

    def __init__(self, window: Window | None = WINDOW) -> None:
        self.open = window
        self.closed = False

    async def window(self) -> Window | None:
        return self.open

    def accepts(self, given: bytes, window: Window) -> bool:
        return is_pass(KEY, window.id, given)

    async def aclose(self) -> None:
        self.closed = True


async def plain(scope: Scope, receive: Any, send: Any) -> None:
    """Answer `served`, accept a websocket, or answer the lifespan messages."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"served"})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    else:
        for what in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{what}.complete"})


async def endpoint(_request: Request) -> Response:
    """Answer `served` in Starlette."""
    return PlainTextResponse("served")


def starlette() -> App:
    """Return an application in Starlette, the middleware added its way."""
    app = Starlette(routes=[Route("/{path:path}", endpoint)])
    app.add_middleware(MaintenanceMiddleware, reader=FakeReader())
    return app


def fastapi() -> App:
    """Return the same in FastAPI."""
    app = FastAPI()
    app.router.routes.append(Route("/{path:path}", endpoint))
    app.add_middleware(MaintenanceMiddleware, reader=FakeReader())
    return app


def wrapped(reader: FakeReader | None = None, **options: Any) -> App:
    """Return the plain application behind the middleware."""
    return MaintenanceMiddleware(plain, reader=reader or FakeReader(), **options)


async def get(
    app: App, path: str = "/", *, method: str = "GET", root_path: str = "", **headers: str
) -> httpx.Response:
    """Send one request; header names with underscores for dashes."""
    transport = httpx.ASGITransport(app=app, root_path=root_path)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path, headers=sent)


async def raw(app: App, **more: Any) -> list[dict[str, Any]]:
    """Open a websocket, or the connection in `more`; return the application's messages."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/", "headers": [], **more}
    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize("make", [wrapped, starlette, fastapi])
async def test_a_request_is_answered_503(make: Callable[[], App]) -> None:
    """With the message, Retry-After and Cache-Control."""
    answer = await get(make(), "/users")

    assert 503 == answer.status_code
    assert {
        "content-type": "application/problem+json",
        "content-length": str(len(answer.content)),
        "cache-control": "no-store",
        "retry-after": "60",
    } == dict(answer.headers)
    assert {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "back at 14:00",
    } == answer.json()


async def test_without_a_window_requests_pass() -> None:
    """Unchanged."""
    answer = await get(wrapped(FakeReader(None)))

    assert (200, "served") == (answer.status_code, answer.text)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/plain; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("application/json", "application/problem+json"),
        ("application/json, text/plain, */*", "application/problem+json"),
        ("application/problem+json;q=0.2, text/*;q=0.3", "text/plain; charset=utf-8"),
        ("*/*", "application/problem+json"),
        ("", "application/problem+json"),
        ("text/html;q=nonsense", "application/problem+json"),
    ],
)
async def test_the_format_of_the_message_follows_the_accept_header(
    accept: str, content_type: str
) -> None:
    """Text for a browser, JSON for a program."""
    answer = await get(wrapped(), accept=accept)

    assert content_type == answer.headers["content-type"]
    assert "back at 14:00" in answer.text


async def test_without_a_message_the_default_one_is_shown() -> None:
    """The reason is never shown, because it is for operators."""
    answer = await get(wrapped(FakeReader(WINDOW._replace(message=""))), accept="text/plain")

    assert f"{DEFAULT_MESSAGE}\n" == answer.text


@pytest.mark.parametrize(
    ("seconds", "expected"), [(7200, {"7199", "7200"}), (0.2, {"1"}), (-5, {"1"})]
)
async def test_retry_after_is_the_end_of_the_window(seconds: float, expected: set[str]) -> None:
    """In whole seconds, and never 0, which would mean an immediate retry."""
    end = datetime.now(UTC) + timedelta(seconds=seconds)

    answer = await get(wrapped(FakeReader(WINDOW._replace(expires_at=end))))

    assert answer.headers["retry-after"] in expected


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    """As HTTP requires."""
    # Without the client, which would drop a body.
    head = await raw(wrapped(), type="http", method="HEAD")
    answer = await raw(wrapped(), type="http", method="GET")

    assert head[0] == answer[0]
    assert b"" == head[1]["body"] != answer[1]["body"]


@pytest.mark.parametrize(
    ("path", "root_path", "status"),
    [
        ("/health", "", 200),
        ("/health/live", "", 200),
        ("/health/", "", 200),
        ("/healthy", "", 503),
        ("/", "", 503),
        ("/users/health", "", 503),
        ("/api/health/live", "/api", 200),
        ("/health/live", "/api", 200),
        ("/api/users", "/api", 503),
        ("/apihealth", "/api", 503),
    ],
)
async def test_exempt_paths_are_served(path: str, root_path: str, status: int) -> None:
    """Entire segments of the path are compared, with and without a mount prefix."""
    assert status == (await get(wrapped(), path, root_path=root_path)).status_code


@pytest.mark.parametrize(
    "path",
    [
        "/health/../me",
        "/health/..",
        "/health/live/../../me",
        "/health/%2e%2e/me",
        "/health/%252e%252e%252fme",
        "/health/..;v=1/me",
        "/health/..\\me",
        "/api/health/../me",
    ],
)
async def test_a_path_that_leaves_an_exempt_one_is_refused(path: str) -> None:
    """The server passes the path decoded once. Another program may decode it again."""
    answer = (await raw(wrapped(), type="http", method="GET", path=path, root_path="/api"))[0]

    assert 503 == answer["status"]


async def test_other_paths_may_be_exempt() -> None:
    """The default ones are refused then."""
    app = wrapped(exempt=("/status/",), retry_after=5)

    answers = [await get(app, path) for path in ("/status", "/status/x", "/health")]

    assert [200, 200, 503] == [answer.status_code for answer in answers]
    assert "5" == answers[2].headers["retry-after"]


async def test_the_pass_of_the_window_is_accepted() -> None:
    """Only the pass of this window."""
    app = wrapped()
    passes = [make_pass(KEY, "w1"), make_pass(KEY, "w0"), make_pass("x" * 32, "w1"), "", "w1."]

    answers = [await get(app, x_maintenance_bypass=one) for one in passes]

    assert [200, 503, 503, 503, 503] == [answer.status_code for answer in answers]


async def test_the_header_may_have_another_name() -> None:
    """A proxy may let only certain headers through."""
    app = wrapped(header="X-Let-Me-In")

    assert 200 == (await get(app, x_let_me_in=make_pass(KEY, "w1"))).status_code
    assert 503 == (await get(app, x_maintenance_bypass=make_pass(KEY, "w1"))).status_code


async def test_a_websocket_is_closed_before_it_is_accepted() -> None:
    """With code 1013, "try again later"."""
    assert [{"type": "websocket.close", "code": 1013, "reason": "maintenance"}] == (
        await raw(wrapped())
    )


async def test_a_websocket_gets_a_503_if_the_server_supports_it() -> None:
    """With the same headers and body as a request."""
    start, body = await raw(wrapped(), extensions={"websocket.http.response": {}})

    assert ("websocket.http.response.start", 503) == (start["type"], start["status"])
    assert (b"retry-after", b"60") in start["headers"]
    assert "websocket.http.response.body" == body["type"]
    assert "back at 14:00" == json.loads(body["body"])["detail"]


async def test_a_websocket_with_the_pass_is_accepted() -> None:
    """In the same header."""
    headers = [(b"x-maintenance-bypass", make_pass(KEY, "w1").encode())]

    assert [{"type": "websocket.accept"}] == await raw(wrapped(), headers=headers)


async def test_the_reader_is_closed_before_the_shutdown_is_answered() -> None:
    """The server ends the event loop after that answer."""
    reader = FakeReader()
    closed_at = {}

    async def send(message: dict[str, Any]) -> None:
        closed_at[message["type"]] = reader.closed

    async def receive() -> dict[str, Any]:
        return {}

    await wrapped(reader)({"type": "lifespan"}, receive, send)

    assert {"lifespan.startup.complete": False, "lifespan.shutdown.complete": True} == closed_at
