"""Refuse to start with wrong settings: show one message, not a traceback with values."""

from __future__ import annotations

from oneoff.core.errors import ConfigurationError
from oneoff.integrations.asgi.protocol import Receive, Scope, Send


class RefusedStart:
    """An application for wrong settings: it makes the server print the error and exit.

    An error raised during the import of the application would make the server print a traceback.

    Args:
        error: The error to print.
    """

    def __init__(self, error: ConfigurationError) -> None:
        self._message = "; ".join([error.message, *(f"try: {line}" for line in error.try_)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the server's `lifespan.startup` with a failure.

        Raises:
            RuntimeError: The server does not use lifespan, so each request fails.
        """
        if scope["type"] != "lifespan":
            raise RuntimeError(self._message)
        await receive()
        await send({"type": "lifespan.startup.failed", "message": self._message})
