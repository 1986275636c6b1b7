"""The name `cache` of a shell: a client of Redis, opened when an input names it.

A shell that has nothing to do with Redis neither imports the driver nor connects.
"""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from oneoff.config.redis_url import redis_url
from oneoff.core.errors import CommandError, ConfigurationError

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.policy import Mode
    from oneoff.core.run import Run

CACHE = "cache"
_NAMED = re.compile(rf"(?<![\w.]){CACHE}\b")


class NoCache:
    """Stands where the client would: what is asked of it raises why there is none.

    Args:
        why: Raised.
        may_open: Whether an input that names it gets a client.
    """

    def __init__(self, why: CommandError, *, may_open: bool = True) -> None:
        self._why, self.may_open = why, may_open

    def __getattr__(self, name: str) -> Any:
        """Say why there is no client; prompts that look for special methods find none."""
        if name.startswith("_"):
            raise AttributeError(name)
        raise self._why

    def __repr__(self) -> str:
        """Return what a person sees who asks for the name alone."""
        return f"<no cache: {self._why.message}>"


class LateCache:
    """Opens the client of one shell.

    Args:
        config: Says where Redis is.
        mode: Of the run; only one that commits may write.
        run: Its id is the name of the client.
        stack: Closes it.
    """

    def __init__(self, config: Config, mode: Mode, run: Run, stack: AsyncExitStack) -> None:
        self._config, self._mode, self._run, self._stack = config, mode, run, stack

    def placeholder(self) -> NoCache:
        """Return what the name stands for as long as nothing was opened."""
        try:
            redis_url(self._config)
        except ConfigurationError as exc:
            return NoCache(exc, may_open=False)
        return NoCache(CommandError("Redis is connected to when an input names `cache`"))

    async def open_if_named(self, source: str, names: dict[str, Any], *, at_prompt: bool) -> None:
        """Put the client into the namespace, if the input needs it and nothing else has the name.

        That Redis is not set or can't be reached is raised when the name is used: the input may
        mean something else by it.

        Args:
            source: The input.
            names: The namespace it will run in.
            at_prompt: Whether a person sees each refused write; the run does not fail for it then.
        """
        if not isinstance(names.get(CACHE), NoCache) or not _NAMED.search(source):
            return
        try:
            names[CACHE] = await self._open(at_prompt=at_prompt)
        except CommandError as exc:
            names[CACHE] = NoCache(exc)

    async def _open(self, *, at_prompt: bool) -> Any:
        url = redis_url(self._config)  # before the driver is imported
        from oneoff.redis.client import connect

        name = f"oneoff/{self._run.id}"
        client = connect(url, self._mode, name=name, fails_run=not at_prompt)
        return await self._stack.enter_async_context(client)
