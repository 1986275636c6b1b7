"""What commands of Django, Flask and Alembic are called here; imported only for an unknown name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_CALLED = {
    "changepassword": "user reset-password",
    "createsuperuser": "user create NAME MAIL --role admin",
    "current": "db status",
    "diffsettings": "config show",
    "downgrade": "db rollback",
    "dumpdata": "data export TABLE",
    "flush": "db reset",
    "history": "db status",
    "loaddata": "data import TABLE FILE",
    "revision": "db create-migration -m MESSAGE",
    "runscript": "shell FILE",
    "shell_plus": "shell",
    "sqlmigrate": "db sql REVISION",
    "stamp": "db stamp REVISION",
    "syncdb": "db migrate",
    "upgrade": "db migrate",
}
"""The command line here, by the name that it has elsewhere."""
_NOT_HERE = {
    "check": "`commands check` checks the commands, `config check` the settings",
    "collectstatic": "oneoff serves no files",
    "inspectdb": "sqlacodegen, a package of its own, writes models from tables",
    "routes": "the routes are those of your web framework",
    "run": "start the web application with its own server, such as uvicorn",
    "runserver": "start the web application with its own server, such as uvicorn",
    "show_urls": "the routes are those of your web framework",
    "startapp": "an application here is a Python package",
    "test": "run the tests with pytest",
    "testserver": "run the tests with pytest",
}


def called_here(words: Sequence[str], names: Collection[str]) -> tuple[str, str]:
    """Return what to say about a name that another framework has, and the command to try.

    Args:
        words: The words that the operator typed.
        names: The names of the commands that exist.
    """
    name = words[0].lower() if words else ""
    if hint := _NOT_HERE.get(name):
        return f"{name!r} is not a command: {hint}", ""
    line = _CALLED.get(name, "")
    is_here = any(line == known or line.startswith(f"{known} ") for known in names)
    return (f"{name!r} is called `{line}` here", line) if line and is_here else ("", "")
