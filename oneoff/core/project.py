"""What a project tells the framework about itself."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class Project:
    """Name the parts of an application that its commands use.

    Everything is named by an import string ("app.models:Base.metadata"), so that building the
    project imports nothing: a command pays only for what it asks for.

    Args:
        name: Short name of the application; used in messages and as the default database's name.
        commands: Packages that hold the project's own commands, searched in this order after
            the built-in ones and those of installed plug-ins.
        settings: The pydantic-settings class behind the resource `settings`.
        metadata: The SQLAlchemy MetaData that migrations are compared with.
        migrations: Folder of the Alembic script directory, relative to the project's root.
        seeds: A sequence of `Seed`, for `db seed`.
        worker: The ARQ WorkerSettings class whose functions `jobs run` may queue.
        warmers: A sequence of `Warmer`, for `cache warm`.
        retention: A sequence of `Retention`, for `data cleanup`.
        transforms: A sequence of subclasses of `Transform`, for `data transform`.
        outbox: A mapping of kinds of effects to their handlers, for `outbox deliver`.
        resources: What else `handle` may ask for by name: a name to the import string of an async
            context manager function, which itself may ask for other resources by name. It is
            opened once a run and closed in reverse order.
        shell: Names that are ready in `manage.py shell`: a name to an import string.
        protect: Environments in which TYPE_NAME commands are refused without `--break-glass`.
    """

    def __init__(
        self,
        name: str,
        *,
        commands: Sequence[str] = ("commands",),
        settings: str = "",
        metadata: str = "",
        migrations: str = "",
        seeds: str = "",
        worker: str = "",
        warmers: str = "",
        retention: str = "",
        transforms: str = "",
        outbox: str = "",
        resources: Mapping[str, str] | None = None,
        shell: Mapping[str, str] | None = None,
        protect: Sequence[str] = ("production",),
    ) -> None:
        self.name = name
        self.commands = tuple(commands)
        self.settings = settings
        self.metadata = metadata
        self.migrations = migrations
        self.seeds = seeds
        self.worker = worker
        self.warmers = warmers
        self.retention = retention
        self.transforms = transforms
        self.outbox = outbox
        self.resources = dict(resources or {})
        self.shell = dict(shell or {})
        self.protect = frozenset(protect)


def load_object(name: str) -> Any:
    """Import "package.module:attribute.path" and return what it names.

    Raises:
        ConfigurationError: The module or the attribute does not exist.
    """
    from importlib import import_module

    from oneoff.core.errors import ConfigurationError

    module_name, _, path = name.partition(":")
    try:
        target: Any = import_module(module_name)
        for attribute in filter(None, path.split(".")):
            target = getattr(target, attribute)
    except ModuleNotFoundError as exc:
        # A module missing inside the named one is the project's bug and keeps its own message.
        if exc.name is None or not (module_name + ".").startswith(exc.name + "."):
            raise
        raise ConfigurationError(
            f"{name!r} can't be imported: no module named {exc.name!r}",
            try_="correct the import string, or run from the project's root folder",
            code="project-not-found",
        ) from None
    except AttributeError as exc:
        raise ConfigurationError(
            f"{name!r} does not exist: {exc}",
            try_="correct the import string, written as package.module:attribute",
            code="project-not-found",
        ) from None
    return target
