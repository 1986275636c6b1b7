"""`mutter`: log a secret without the command's own `log`."""

import asyncio
import logging
import sys
import threading
import warnings
from typing import Literal

import structlog

from oneoff import Access, Argument, BaseCommand, Result, Secret, SecretStr

log = structlog.get_logger()
if "handler" in sys.argv:
    logging.basicConfig(stream=sys.stdout)  # some applications do this when they are imported


class Noisy:
    """Raise an error when it is freed."""

    def __init__(self, secret) -> None:
        self.secret = secret

    def __del__(self) -> None:
        raise RuntimeError(self.secret)


def fail(secret) -> None:
    """Raise an error that is not caught."""
    raise RuntimeError(secret)


class Mutter(BaseCommand):
    """Log the secret without the command's own log."""

    access = Access.READ
    examples = ("mutter structlog --token-stdin",)

    how: Literal["structlog", "logging", "handler", "warning", "thread", "finalizer", "loop"] = (
        Argument(help="How to log it.")
    )
    token: SecretStr = Secret(env="MUTTER_TOKEN", help="The secret to log.")

    async def handle(self) -> Result:
        secret = self.token.reveal()
        ways = {
            "structlog": lambda: log.warning("muttered", note=f"it was {secret}"),
            "logging": lambda: logging.getLogger("shop").error("muttered %s", secret),
            "handler": lambda: logging.getLogger("shop").error("muttered %s", secret),
            "warning": lambda: warnings.warn(f"muttered {secret}", stacklevel=1),
            "thread": lambda: self.by_thread(secret),
            "finalizer": lambda: Noisy(secret) and None,
            "loop": lambda: asyncio.get_running_loop().call_soon(fail, secret),
        }
        ways[self.how]()
        await asyncio.sleep(0)
        return Result.unchanged("muttered")

    def by_thread(self, secret) -> None:
        thread = threading.Thread(target=fail, args=(secret,))
        thread.start()
        thread.join()
