"""Refuse to start with wrong settings: show one message instead of a traceback with values."""

from __future__ import annotations

from oneoff.core.errors import ConfigurationError
from oneoff.integrations.asgi.protocol import Receive, Scope, Send


class RefusedStart:
    """Replaces an application whose settings are wrong: the server prints the error and exits.

    If the error were raised while the application is imported, the server would print a traceback.

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
