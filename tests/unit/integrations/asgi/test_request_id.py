"""Every request has an id, in the log and in the response."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import LogCapture

from oneoff.integrations.asgi.protocol import Message, Receive, Scope, Send
from oneoff.integrations.asgi.request_id import RequestIdMiddleware

GENERATED = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """Return the logged events, with the bound variables."""
    captured = LogCapture()
    structlog.configure([structlog.contextvars.merge_contextvars, captured])
    yield captured.entries
    structlog.reset_defaults()


async def hello(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer 200 with the id the application sees; /broken raises, /missing is 404."""
    structlog.get_logger().info("app.asked")
    if scope["path"] == "/broken":
        raise RuntimeError("broken")
    status = 404 if scope["path"] == "/missing" else 200
    headers = [(b"x-request-id", b"of-the-app"), (b"x-other", b"1")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": scope["state"]["request_id"].encode()})


async def get(path: str, sent: str | None = None) -> httpx.Response:
    """Send a request, with this id, to the application behind the middleware."""
    app = RequestIdMiddleware(hello, quiet=("/health",))
    headers = {} if sent is None else {"X-Request-ID": sent}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        return await client.get(path, headers=headers)


async def test_a_request_without_an_id_gets_one() -> None:
    """The application and the caller get the same id."""
    response = await get("/")

    assert GENERATED.fullmatch(response.text)
    assert [response.text] == response.headers.get_list("x-request-id")
    assert "1" == response.headers["x-other"]


@pytest.mark.parametrize("sent", ["a", "Root=1-67891233"[5:], "A.b_c-9", "x" * 128])
async def test_an_id_that_is_a_short_token_is_kept(sent: str) -> None:
    """A proxy may already have logged it."""
    response = await get("/", sent)

    assert (sent, sent) == (response.text, response.headers["x-request-id"])


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", "a\tb", '"}', "<script>", "a;b", "a/b"])
async def test_any_other_id_is_replaced(sent: str) -> None:
    """It could forge log lines, or fill the log."""
    response = await get("/", sent)

    assert GENERATED.fullmatch(response.text)


async def test_each_line_of_a_request_has_its_id(lines: list[Any]) -> None:
    """Lines of the application, and the event at the end. Nothing stays bound afterwards."""
    await get("/a%0Ab?key=s3cret", "r1")

    asked, finished = lines
    assert ("app.asked", "r1") == (asked["event"], asked["request_id"])
    assert 0 <= finished.pop("duration_ms") < 10_000
    assert {
        "event": "request.finished",
        "log_level": "info",
        "request_id": "r1",
        "method": "GET",
        "path": "/a%0Ab",
        "status": 200,
    } == finished
    assert {} == structlog.contextvars.get_contextvars()


@pytest.mark.parametrize(
    ("path", "level"),
    [
        ("/health", "debug"),
        ("/health/live", "debug"),
        ("/healthy", "info"),
        ("/missing", "info"),
    ],
)
async def test_successful_probes_are_logged_at_debug(
    lines: list[Any], path: str, level: str
) -> None:
    """Probes come every few seconds."""
    await get(path)

    assert level == lines[-1]["log_level"]


async def test_an_error_of_the_application_is_logged_and_raised(lines: list[Any]) -> None:
    """The id stays bound for the server, which logs the traceback in the same task."""

    async def serve() -> Any:
        with pytest.raises(RuntimeError, match="broken"):
            await get("/broken", "r1")
        return structlog.contextvars.get_contextvars()

    bound = await asyncio.create_task(serve())

    assert ("request.finished", 500) == (lines[-1]["event"], lines[-1]["status"])
    assert {"request_id": "r1"} == bound


async def test_variables_of_an_earlier_request_are_removed(lines: list[Any]) -> None:
    """Requests of one connection may share a context."""
    structlog.contextvars.bind_contextvars(key_id=7)

    await get("/")

    assert not any("key_id" in line for line in lines)


async def test_a_long_path_is_truncated_in_the_log(lines: list[Any]) -> None:
    """Servers accept paths of some ten thousand characters."""
    await get("/" + "x" * 5_000)

    assert 1_024 == len(lines[-1]["path"])


async def test_a_websocket_has_an_id_too(lines: list[Any]) -> None:
    """In the response to its handshake, and in the event with its close code."""
    sent: list[Message] = []
    incoming: list[Message] = [
        {"type": "websocket.connect"},
        {"type": "websocket.disconnect", "code": 1001},
    ]

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "headers": [(b"X-Request-ID", b"w1")]}
    await RequestIdMiddleware(app)(scope, receive, send)

    assert [(b"x-request-id", b"w1")] == sent[0]["headers"]
    closed = lines[-1]
    assert ("websocket.closed", "/ws", 1001, "w1") == (
        closed["event"],
        closed["path"],
        closed["code"],
        closed["request_id"],
    )


async def test_the_lifespan_is_passed_unchanged() -> None:
    """It is not a request."""
    seen = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    async def nothing(*_: Any) -> Any: ...

    await RequestIdMiddleware(app)({"type": "lifespan"}, nothing, nothing)

    assert [{"type": "lifespan"}] == seen
