"""Open the resources that `handle` asks for by the names of its parameters.

`handle(self, session)` gets the value that the provider of "session" in `BUILTIN` yields. Providers
are named by import strings, so that a run imports only the resources that it opens.

A provider is an async context manager function. Its own parameters are names of resources too. A
resource is opened at its first use, at most once per run. All are closed in reverse order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from oneoff.core.errors import ConfigurationError
from oneoff.core.project import load_object
from oneoff.runtime.plugins.resources import conflict, conflicts_of, resources_of

BUILTIN: Mapping[str, str] = {
    "database": "oneoff.database.engine:open_database",
    "session": "oneoff.database.transaction:open_session",
    "work": "oneoff.database.transaction:open_work",
    "migrations": "oneoff.services.migrations.provider:open_migrations",
    "batches": "oneoff.services.batch.resource:open_batches",
    "cache": "oneoff.redis.resource:open_cache",
    "backups": "oneoff.services.backups.own_backups:open_backups",
    "jobs": "oneoff.services.jobs.resource:open_jobs",
    "settings": "oneoff.config.project_settings:open_settings",
    "progress": "oneoff.runtime.progress:open_progress",
    "log": "oneoff.runtime.logs.loggers:open_log",
    "console": "oneoff.services.shell.console:open_console",
    "announcement": "oneoff.services.maintenance.switch:open_announcement",
}
"""The framework's providers: "module:function" by the name of the resource."""

GIVEN = frozenset("config project run registry mode lock terminal logs open".split())
"""Names that the executor itself provides to every command: facts about the run, and the function
`open`, which opens a resource while `handle` runs."""

NEED_DATABASE = frozenset({"database", "session", "work", "migrations", "batches"})
"""A command that asks for one of these needs the database."""

NEED_TABLES = frozenset({"session", "work", "batches"})
"""A command that writes and asks for one of these also needs the framework's tables."""


def known_names(project_resources: Mapping[str, str]) -> frozenset[str]:
    """Return all names that a command of this project may ask for."""
    return frozenset(BUILTIN) | GIVEN | frozenset(project_resources)


def parameters(function: Any) -> tuple[str, ...]:
    """Return a function's parameter names, without importing `inspect`."""
    code = getattr(function, "__wrapped__", function).__code__
    return tuple(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


class Container:
    """Opens resources by name for one run.

    Args:
        stack: Closes the opened resources in reverse order at the end of the run.
        providers: The providers of the project and of plug-ins by name.
        given: Ready values by name.
        refused: Who provides a resource that several provide; it is an error to ask for it.

    Attributes:
        closing_errors: If it is a list, an error in the closing of a resource is added to it.
            If it is None, the error is raised, and the other resources are closed with it.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        providers: Mapping[str, str],
        given: Mapping[str, Any],
        refused: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._stack = stack
        self._providers = {**BUILTIN, **providers}
        self._ready = {**given, "open": self.get}
        self._refused = refused or {}
        self._opening: list[str] = []
        self.closing_errors: list[BaseException] | None = None

    @classmethod
    def of_run(cls, stack: AsyncExitStack, given: Mapping[str, Any]) -> Container:
        """Return the container of a run, which is given its project and registry."""
        project, plugins = given["project"], given["registry"].plugins
        refused = conflicts_of(project, plugins, known_names({}))
        return cls(stack, resources_of(project, plugins), given, refused)

    def give(self, name: str, value: Any) -> None:
        """Add a ready value."""
        self._ready[name] = value

    def opened(self, name: str) -> Any:
        """Return a resource if it has been opened, otherwise None."""
        return self._ready.get(name)

    async def get(self, name: str) -> Any:
        """Return a resource; open it, and first the resources it needs, if that is not done yet.

        Raises:
            ConfigurationError: The name has no provider or several, or providers depend on each
                other.
        """
        if name in self._refused:
            raise conflict(name, self._refused[name], self._providers)
        if name in self._ready:
            return self._ready[name]
        if name in self._opening:
            circle = " -> ".join([*self._opening, name])
            raise ConfigurationError(
                f"resources depend on each other: {circle}", code="resource-cycle"
            )
        from oneoff.runtime.unfinished_tasks import untracked

        provider = load_object(self._provider_of(name))
        self._opening.append(name)
        # `_opening` is the chain of providers that wait for one another; a name that occurs twice
        # in it is a circle.
        needs = {need: await self.get(need) for need in parameters(provider)}
        self._opening.pop()
        with untracked():  # a resource may keep a task until it is closed
            manager = provider(**needs)
            self._ready[name] = await manager.__aenter__()
            self._stack.push_async_exit(partial(self._close, manager))
        return self._ready[name]

    async def _close(self, manager: Any, *raised: Any) -> Any:
        try:
            return await manager.__aexit__(*raised)
        except Exception as exc:
            if self.closing_errors is None:
                raise
            self.closing_errors.append(exc)
            return False

    def _provider_of(self, name: str) -> str:
        if name in self._providers:
            return self._providers[name]
        raise ConfigurationError(
            f"the resource {name!r} has no provider",
            why=f"known names: {', '.join(sorted(self._providers.keys() | self._ready.keys()))}",
            try_=f'register it: Project(..., resources={{"{name}": "app.module:function"}})',
            code="unknown-resource",
        )
