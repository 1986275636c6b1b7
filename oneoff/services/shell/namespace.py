"""Build the namespace of a shell. The Redis client `cache` is opened when an input names it.

A shell that does not use Redis neither imports the driver nor connects.
"""

from __future__ import annotations

import builtins
import re
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from oneoff.config.project_settings import load_settings
from oneoff.config.redis_url import redis_url
from oneoff.core.errors import CommandError, ConfigurationError
from oneoff.core.project import load_object

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.config.settings import Config
    from oneoff.core.policy import Mode
    from oneoff.core.project import Project
    from oneoff.core.run import Run

CACHE = "cache"
# The name itself: not an attribute such as `settings.cache`, and not a part of a longer name.
_NAMES_CACHE = re.compile(rf"(?<![\w.]){CACHE}\b")
_SQLALCHEMY = ("select", "insert", "update", "delete", "func", "text")


def ready_names(config: Config, run: Run, session: AsyncSession, cache: object) -> dict[str, Any]:
    """Return the namespace of a shell, the most useful names first.

    The project's names replace those of SQLAlchemy: it may have a model called `text`.
    """
    import sqlalchemy

    names: dict[str, Any] = {"__builtins__": builtins, "session": session}
    names |= {name: getattr(sqlalchemy, name) for name in _SQLALCHEMY}
    names |= {"run": run, CACHE: cache}
    if config.project.settings:
        names["settings"] = load_settings(config)
    names |= _models(config.project)
    return names | {name: load_object(target) for name, target in config.project.shell.items()}


def _models(project: Project) -> dict[str, Any]:
    """Return the mapped classes of the module that `Project(metadata=...)` names."""
    if not project.metadata:
        return {}
    load_object(project.metadata)
    module = sys.modules[project.metadata.partition(":")[0]]
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and hasattr(value, "__mapper__")
    }


class CachePlaceholder:
    """The value of `cache` while the client is not open. Using it raises an error.

    Args:
        why: The error to raise.
        may_open: Whether an input that contains the name opens the client; false without REDIS_URL.
    """

    def __init__(self, why: CommandError, *, may_open: bool = True) -> None:
        self._why, self.may_open = why, may_open

    def __getattr__(self, name: str) -> Any:
        """Raise the error that says why the client is not open."""
        # Prompts look for methods such as `_repr_html_` and expect AttributeError.
        if name.startswith("_"):
            raise AttributeError(name)
        raise self._why

    def __repr__(self) -> str:
        """Return the text that the prompt prints for the input `cache`."""
        return f"<no cache: {self._why.message}>"


class LazyCache:
    """Opens the Redis client of one shell.

    Args:
        config: Has REDIS_URL.
        mode: The mode of the run; only a run that commits may write.
        run: Its id becomes the name of the client in Redis.
        stack: Closes the client.
    """

    def __init__(self, config: Config, mode: Mode, run: Run, stack: AsyncExitStack) -> None:
        self._config, self._mode, self._run, self._stack = config, mode, run, stack

    def placeholder(self) -> CachePlaceholder:
        """Return the value of the name `cache` until the client is opened."""
        try:
            redis_url(self._config)
        except ConfigurationError as exc:
            return CachePlaceholder(exc, may_open=False)
        return CachePlaceholder(CommandError("the client is opened when an input names `cache`"))

    async def open_if_named(self, source: str, names: dict[str, Any], *, at_prompt: bool) -> None:
        """Open the client if the input contains the name `cache` and it was not reassigned.

        If REDIS_URL is not set or Redis can't be reached, the error is raised only when the name is
        used, because the input may use the word for something else.

        Args:
            source: The input.
            names: The namespace that the input will run in.
            at_prompt: Whether the user sees the error of a refused write. If so, it does not fail
                the run.
        """
        if not isinstance(names.get(CACHE), CachePlaceholder) or not _NAMES_CACHE.search(source):
            return
        try:
            names[CACHE] = await self._open(at_prompt=at_prompt)
        except CommandError as exc:
            names[CACHE] = CachePlaceholder(exc)

    async def _open(self, *, at_prompt: bool) -> Any:
        url = redis_url(self._config)  # before the driver is imported
        from oneoff.redis.client import connect

        name = f"oneoff/{self._run.id}"
        client = connect(url, self._mode, name=name, fails_run=not at_prompt)
        return await self._stack.enter_async_context(client)
