"""Read the URLs that the application's own code has.

`Project(database_url="app.settings:dsn")` names the URL, or a function that returns it, for
applications that build it from POSTGRES_SERVER, POSTGRES_USER and so on.
"""

from __future__ import annotations

from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import ConfigurationError
from oneoff.core.project import load_value
from oneoff.utils.hosts import is_local_host
from oneoff.utils.redaction import Redactor

if TYPE_CHECKING:
    from oneoff.config.database_url import DatabaseURL

_PORT = 5432


def declared_url(name: str, *, required: bool = False) -> str:
    """Return the URL that the application's own code provides, as text; empty if it has none.

    Its password is masked from now on.

    Args:
        name: Import string of a text, of a URL object of SQLAlchemy or pydantic, of a secret of
            pydantic, or of a function without arguments that returns one of these.
        required: Whether it is an error if there is none.

    Raises:
        ConfigurationError: The code failed, or has no URL although one is required.
    """
    value = load_value(name)
    if iscoroutine(value):
        value.close()
        raise ConfigurationError(
            f"{name!r} is an async function",
            why="the URL is needed before an event loop runs",
            try_="name a plain function that returns the URL",
            code="project-broken",
        )
    text = _text(value)
    if required and not text.strip():
        raise ConfigurationError(
            f"{name!r} has no URL",
            why="the project takes its database from there, and has no other one",
            try_="set the variables that this code reads, or ONEOFF_DATABASE_URL",
            code="missing-setting",
        )
    Redactor.know_url(text)
    return text


def _text(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "get_secret_value"):
        return _text(value.get_secret_value())
    if hasattr(value, "render_as_string"):  # SQLAlchemy shows *** instead of the password
        return str(value.render_as_string(hide_password=False))
    return str(value)


def refuse_other(setting: DatabaseURL, declared: DatabaseURL, name: str) -> None:
    """Refuse a DATABASE_URL that the application ignores: the operator expects that database.

    Args:
        setting: DATABASE_URL.
        declared: The URL that the application's own code has.
        name: The import string of that code.

    Raises:
        ConfigurationError: They name different databases.
    """
    if _place(setting) == _place(declared):
        return
    raise ConfigurationError(
        f"DATABASE_URL is {setting.safe()}, but {name} is {declared.safe()}",
        why=f"the project takes its database from {name}, and nothing would use DATABASE_URL",
        try_=(
            "unset DATABASE_URL, or write it as the application does",
            "to use another database than the application: ONEOFF_DATABASE_URL=...",
        ),
        code="two-databases",
    )


def _place(url: DatabaseURL) -> tuple[object, ...]:
    """Return what two URLs of one database have in common, however its machine is named."""
    host = "" if is_local_host(url.host) else url.host.lower()
    return url.dialect, host, url.port or _PORT, url.database
