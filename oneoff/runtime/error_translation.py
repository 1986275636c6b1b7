"""Turn whatever stopped a run into an error an operator can act on."""

from __future__ import annotations

import asyncio
import sys

from oneoff.core.errors import (
    CommandError,
    ConfigurationError,
    DeadlineReached,
    ExitCode,
    Interrupted,
    Terminated,
)
from oneoff.runtime import signals

_PACKAGES = {
    "aiosqlite": "oneoff[sqlite]",
    "asyncpg": "oneoff[postgres]",
    "redis": "oneoff[redis]",
    "arq": "oneoff[arq]",
    **dict.fromkeys(
        ("sqlalchemy", "alembic", "structlog", "pydantic", "pydantic_settings"), "oneoff"
    ),
}
"""Module to what installs it."""


class UnexpectedError(CommandError):
    """A bug: in the command, in what it calls, or in the framework."""

    code = "unexpected-error"


ROLLED_BACK = "its work was rolled back"
STAYS = "what it did before that stays; the same command again does the rest"


def explain(
    exc: BaseException, run_id: str = "", line: str = "", *, undone: bool = True
) -> CommandError:
    """Return the error to show for an exception.

    Args:
        exc: What was raised.
        run_id: The run it ended; named in unexpected errors, so that its log can be found.
        line: The command line, for what to try next.
        undone: Whether its work was rolled back; work on Redis or in files can't be.
    """
    what_now = ROLLED_BACK if undone else STAYS
    if isinstance(exc, CommandError):
        return exc
    if isinstance(exc, asyncio.CancelledError | signals.SignalReceived):
        return _interrupted(exc, what_now)
    if isinstance(exc, TimeoutError) and isinstance(exc.__cause__, asyncio.CancelledError):
        return DeadlineReached(
            "the run did not end within --timeout",
            why=what_now,
            try_="give it more time, or find out what it waits for: python manage.py audit list",
        )
    if signals.received():
        # An error that is raised while a cancelled run is stopped (by a driver whose connection was
        # only half opened, for example) is a consequence of the signal.
        return _interrupted(exc, what_now)
    known = _from_import(exc) or _from_database(exc) or _from_redis(exc)
    if known is not None:
        return known
    text = str(exc).strip()
    return UnexpectedError(
        f"{type(exc).__name__}: {text}" if text else type(exc).__name__,
        why=f"this is a bug, in the command or in what it calls; {what_now}",
        try_=(
            f"{line} --traceback" if line else "the same command with --traceback",
            *((f"look for run {run_id} in the logs",) if run_id else ()),
        ),
    )


def _interrupted(exc: BaseException, what_now: str) -> Interrupted:
    signum = exc.signum if isinstance(exc, signals.SignalReceived) else signals.received()
    code = signals.exit_code_of(signum) if signum else ExitCode.INTERRUPTED
    if code == ExitCode.TERMINATED:
        return Terminated("stopped by SIGTERM", why=what_now)
    return Interrupted("interrupted", why=what_now)


def _from_import(exc: BaseException) -> CommandError | None:
    """Return the error for a package of the stack that is not installed."""
    missing = (getattr(exc, "name", "") or "").partition(".")[0]
    if not isinstance(exc, ModuleNotFoundError) or missing not in _PACKAGES:
        return None
    package = _PACKAGES[missing]
    return ConfigurationError(
        f"the Python package {missing!r} is not installed in {sys.prefix}",
        try_=(
            "activate the project's virtual environment: source .venv/bin/activate",
            f"or install it: pip install '{package}'",
        ),
        code="missing-dependency",
    )


def _from_database(exc: BaseException) -> CommandError | None:
    """Ask the database adapter, if the run has loaded one."""
    if "sqlalchemy" not in sys.modules:
        return None
    from oneoff.database.errors import translate_error

    return translate_error(exc)


def _from_redis(exc: BaseException) -> CommandError | None:
    """Ask the Redis adapter, if anything has loaded the driver."""
    if "redis" not in sys.modules:
        return None
    from oneoff.redis.errors import translate_redis_error

    return translate_redis_error(exc)
