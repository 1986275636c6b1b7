"""Define `Project`, in which an application declares what its commands use."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from oneoff.core.errors import ConfigurationError

PII = "pii"
"""The key in a declared column's `info` that marks personal data, or says that it is none."""


class Project:
    """Declares the parts of an application that its commands use.

    Parts are named by import strings ("app.models:Base.metadata"), so creating the project imports
    nothing. A command imports only the parts that it uses.

    Args:
        name: Short name of the application, for messages and the default database.
        commands: Packages with the project's own commands. They are searched in this order, after
            the built-in commands and those of installed plug-ins.
        settings: The pydantic-settings class of the resource `settings`.
        database_url: Where the application has the URL of its database, if it does not read
            DATABASE_URL: a text, a URL object or a secret, or a function that returns one.
            Then DATABASE_URL is not used; ONEOFF_DATABASE_URL is.
        redis_url: The same for Redis.
        env_file: The application's `.env`, relative to the project's root.
        embedded: Whether a SQLite file in the project's root is used in development if no URL is
            set.
        session: The application's subclass of SQLAlchemy's AsyncSession, such as SQLModel's.
        engine_options: What the application's engine has of its own: a mapping, or a function that
            returns one, with `json_serializer`, `json_deserializer`, `connect_args`,
            `execution_options`, and `listeners`: functions by the name of their event.
        metadata: The SQLAlchemy MetaData that migrations are compared with.
        migrations: Folder of the Alembic script directory, relative to the project's root.
        seeds: A sequence of `Seed`, for `db seed`.
        worker: The ARQ WorkerSettings class with the functions that `jobs run` may queue.
        warmers: A sequence of `Warmer`, for `cache warm`.
        retention: A sequence of `Retention`, for `data cleanup`.
        transforms: A sequence of subclasses of `Transform`, for `data transform`.
        tasks: A mapping from the names of built-in commands to their `Task` in the catalogue of
            admin tasks. The project's own commands have it as their class attribute `task`.
        errors: The application's exceptions that are not a bug but an operator's business, such as
            "no such order": their message is shown, and nothing more.
        pii: Columns with personal data: "table.column", "schema.table.column", or "column" in any
            table. The name of a partitioned table means its partitions too. The models may say the
            same with `mapped_column(info={"pii": True})`.
        outbox: A mapping from the kinds of effects to their handlers, for `outbox deliver`.
        resources: More resources for `handle`: a mapping from names to import strings of functions
            that return an async context manager. Such a function may itself name other resources
            as parameters. A resource is opened once in a run; they are closed in reverse order.
        shell: More names in `manage.py shell`: a mapping from names to import strings.
        approvers: A function that gets the `Operator` and the name of a command, and returns
            whether this person may approve it: members of a group, or who is on call.
        protect: Protected environments: TYPE_NAME commands are refused there without
            `--break-glass`.
    """

    def __init__(
        self,
        name: str,
        *,
        commands: Sequence[str] = ("commands",),
        settings: str = "",
        database_url: str = "",
        redis_url: str = "",
        env_file: str = ".env",
        embedded: bool = True,
        session: str = "",
        engine_options: str = "",
        metadata: str = "",
        migrations: str = "",
        seeds: str = "",
        worker: str = "",
        warmers: str = "",
        retention: str = "",
        transforms: str = "",
        tasks: Mapping[str, str] | None = None,
        errors: Sequence[str] = (),
        pii: Sequence[str] = (),
        outbox: str = "",
        resources: Mapping[str, str] | None = None,
        shell: Mapping[str, str] | None = None,
        approvers: str = "",
        protect: Sequence[str] = ("production",),
    ) -> None:
        self.name = name
        self.commands = tuple(commands)
        self.settings = settings
        self.database_url = database_url
        self.redis_url = redis_url
        self.env_file = env_file
        self.embedded = embedded
        self.session = session
        self.engine_options = engine_options
        self.metadata = metadata
        self.migrations = migrations
        self.seeds = seeds
        self.worker = worker
        self.warmers = warmers
        self.retention = retention
        self.transforms = transforms
        self.tasks = dict(tasks or {})
        self.errors = tuple(errors)
        self.pii = frozenset(name.casefold() for name in pii)
        self.outbox = outbox
        self.resources = dict(resources or {})
        self.shell = dict(shell or {})
        self.approvers = approvers
        self.protect = frozenset(protect)


def load_object(name: str) -> Any:
    """Import "package.module:attribute.path" and return the object.

    Raises:
        ConfigurationError: The module or the attribute does not exist, or the module's own code
            fails. Then the cause is the error of that code.
    """
    from importlib import import_module

    from oneoff.core.errors import CommandError

    module_name, _, path = name.partition(":")
    if not all(module_name.split(".")):
        raise _not_found(name, "does not name a module")
    try:
        target: Any = import_module(module_name)
        for attribute in filter(None, path.split(".")):
            target = getattr(target, attribute)
    except CommandError:
        raise  # for example, a missing setting
    except (Exception, SystemExit) as exc:
        if problem := _what_is_missing(exc, module_name):
            raise _not_found(name, problem) from None
        raise _broken(name, exc) from exc
    return target


def load_value(name: str) -> Any:
    """Import an object as `load_object` does, and call it if it is a function.

    Raises:
        ConfigurationError: It can't be imported, or the function fails.
    """
    value = load_object(name)
    if not callable(value):
        return value
    try:
        return value()
    except Exception as exc:
        raise _broken(name, exc, "failed") from exc


def _what_is_missing(exc: BaseException, module_name: str) -> str:
    """Return the problem if the import string is wrong; empty if the module's own code failed."""
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        # Another missing module is one that the named module imports.
        is_named = (module_name + ".").startswith(exc.name + ".")
        return f"can't be imported: no module named {exc.name!r}" if is_named else ""
    # An AttributeError from the module's code, or from its `__getattr__`, has more frames.
    trace = exc.__traceback__
    is_ours = isinstance(exc, AttributeError) and trace is not None and trace.tb_next is None
    return f"does not exist: {exc}" if is_ours else ""


def _not_found(name: str, problem: str) -> ConfigurationError:
    from oneoff.core.errors import ConfigurationError

    return ConfigurationError(
        f"{name!r} {problem}",
        try_="correct the import string, written as package.module:attribute, or run the command "
        "from the project's root folder",
        code="project-not-found",
    )


def _broken(
    name: str, exc: BaseException, problem: str = "can't be imported"
) -> ConfigurationError:
    from oneoff.core.errors import ConfigurationError
    from oneoff.utils.places import error_text, place_of

    return ConfigurationError(
        f"{name!r} {problem}: {place_of(exc)}: {error_text(exc)}",
        try_="correct that line; --traceback shows how it was reached",
        code="project-broken",
    )
