"""Take over what the application has of its own: options of its engine, its class of sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import ConfigurationError
from oneoff.core.project import load_object, load_value

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

    from oneoff.core.project import Project

LISTENERS = "listeners"
_OPTIONS = ("connect_args", "execution_options", "json_deserializer", "json_serializer", LISTENERS)
_OWN_CONNECT_ARGS = frozenset(
    "connection_class database dsn factory host password passfile port "
    "prepared_statement_cache_size prepared_statement_name_func service servicefile "
    "statement_cache_size user".split()
)
"""What a run decides itself: which database, and how its connections are guarded."""
_SESSION = "oneoff_session"
_OWN_EXECUTION = ("isolation_level", "postgresql_readonly", "postgresql_deferrable")
"""How transactions begin, which the mode of the run decides."""


def engine_options(project: Project | None, connect_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `Project(engine_options=...)`; its class of sessions is one of them.

    Args:
        project: The project, if there is one.
        connect_args: What a run passes to the driver; the project may add to it.

    Raises:
        ConfigurationError: An option can't be taken over.
    """
    options: dict[str, Any] = {}
    if project is not None and project.engine_options:
        options = _declared_options(project.engine_options)
        _check(options, project.engine_options)
    if project is not None and project.session:
        own = {_SESSION: _session_class(project.session)}
        options["execution_options"] = {**options.get("execution_options", {}), **own}
    options["connect_args"] = {**connect_args, **options.get("connect_args", {})}
    return options


def new_session(bind: AsyncConnection | AsyncEngine, **options: Any) -> AsyncSession:
    """Return a session of the application's class; its objects don't expire.

    Args:
        bind: A connection, in whose transaction the session works, or an engine.
        **options: More arguments of the class.
    """
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    sync = bind.sync_engine if isinstance(bind, AsyncEngine) else bind.sync_connection
    known: Mapping[str, Any] = sync.get_execution_options() if sync is not None else {}
    kind: type[AsyncSession] = known.get(_SESSION, AsyncSession)
    return kind(bind, expire_on_commit=False, **options)


def check_session(session: Any, connection: AsyncConnection, name: str) -> None:
    """Refuse a session of the project that is not in the transaction of the run.

    Args:
        session: What the project's own provider of the resource `session` yielded.
        connection: The connection of the run's transaction.
        name: The import string of the provider.

    Raises:
        ConfigurationError: The session has another connection: the run would not commit its work.
    """
    bind = getattr(session, "bind", None)
    if bind in (connection, connection.sync_connection):
        return
    raise ConfigurationError(
        f"the resource 'session' of {name} is not in the transaction of the run",
        why="the run commits its own transaction, so what this session writes would be lost",
        try_=(
            "name the class instead: Project(session='app.db:AsyncSession')",
            "or let the provider ask for `work` and use `work.connection`",
        ),
        code="other-session",
    )


def _declared_options(name: str) -> dict[str, Any]:
    declared = load_value(name)
    if not isinstance(declared, Mapping):
        raise _wrong(name, declared, "a mapping, or a function that returns one")
    return dict(declared)


def _session_class(name: str) -> type[AsyncSession]:
    from sqlalchemy.ext.asyncio import AsyncSession

    kind: Any = load_object(name)
    if not isinstance(kind, type) or not issubclass(kind, AsyncSession):
        raise _wrong(name, kind, "a subclass of SQLAlchemy's AsyncSession")
    return kind


def _wrong(name: str, found: object, expected: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name!r} is of the type {type(found).__name__}, not {expected}",
        try_="correct the import string in Project(...)",
        code="project-broken",
    )


def _check(options: Mapping[str, Any], name: str) -> None:
    unknown = sorted(options.keys() - set(_OPTIONS))
    taken = sorted(_OWN_CONNECT_ARGS & dict(options.get("connect_args", {})).keys())
    decided = sorted(
        option
        for option in options.get("execution_options", {})
        if option in _OWN_EXECUTION or option.startswith("oneoff_")
    )
    if not unknown and not taken and not decided:
        return
    problems = [f"{option!r} can't be taken over" for option in unknown]
    problems += [f"connect_args[{option!r}] is decided by the run" for option in taken]
    problems += [f"execution_options[{option!r}] is decided by the run" for option in decided]
    raise ConfigurationError(
        f"{name}: {'; '.join(problems)}",
        why=f"possible are {', '.join(_OPTIONS)}",
        try_="leave them out",
        code="engine-options",
    )
