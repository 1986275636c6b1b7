"""`mutter`: log a secret in the ways that don't go through the command's own `log`."""

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
    logging.basicConfig(stream=sys.stdout)  # as an application might, when it is imported


class Noisy:
    """Fails when it is freed."""

    def __init__(self, secret) -> None:
        self.secret = secret

    def __del__(self) -> None:
        raise RuntimeError(self.secret)


def fail(secret) -> None:
    """Raise where nobody catches it."""
    raise RuntimeError(secret)


class Mutter(BaseCommand):
    """Log the secret behind the command's back."""

    access = Access.READ
    examples = ("mutter structlog --token-stdin",)

    how: Literal["structlog", "logging", "handler", "warning", "thread", "finalizer", "loop"] = (
        Argument(help="In which way.")
    )
    token: SecretStr = Secret(env="MUTTER_TOKEN", help="What must not be seen.")

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
