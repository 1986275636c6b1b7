"""Refuse to start with wrong settings: one clean message, and no traceback with values in it."""

from __future__ import annotations

from oneoff.core.errors import ConfigurationError
from oneoff.integrations.asgi.request_id import Receive, Scope, Send


class RefusedStart:
    """Stand in for an application whose settings are wrong: the server says so, and exits.

    An error raised while the application is imported would be shown with its traceback.

    Args:
        error: What is wrong.
    """

    def __init__(self, error: ConfigurationError) -> None:
        self._message = "; ".join([error.message, *(f"try: {line}" for line in error.try_)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Fail the start of the server; one that does not ask gets the same at each request.

        Raises:
            RuntimeError: The server has started the application without asking.
        """
        if scope["type"] != "lifespan":
            raise RuntimeError(self._message)
        await receive()
        await send({"type": "lifespan.startup.failed", "message": self._message})
