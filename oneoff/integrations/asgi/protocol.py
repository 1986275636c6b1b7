"""Name the types of the ASGI protocol that the middlewares share.

A server calls the application once for each connection, with three arguments:

- `scope`: the facts about the connection. `scope["type"]` is "http", "websocket" or "lifespan".
- `receive`: waits for the next message from the client or the server.
- `send`: passes a message to the client or the server.

An HTTP response is `http.response.start` (status and headers), then `http.response.body`. A
websocket is accepted with `websocket.accept`. It is refused with `websocket.close`, which servers
turn into a plain 403, or with an HTTP response (`websocket.http.response.*`) if the server lists
that extension in the scope. The lifespan connection is open as long as the process serves. The
server sends `lifespan.startup` and `lifespan.shutdown`, and the application answers each with
`.complete` or `.failed`. After the answer to the shutdown, the server ends the event loop.

A middleware is an application that calls another one, with wrapped `receive` and `send`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application: a callable that gets the scope, and functions to receive and to send."""
