"""Translate the exception that ended a run to an error that an operator can act on."""

from __future__ import annotations

import asyncio
import sys
from signal import Signals
from typing import TYPE_CHECKING

from oneoff.core.errors import (
    CommandError,
    ConfigurationError,
    DataError,
    DeadlineReached,
    ExitCode,
    Interrupted,
    ReadOnlyViolation,
    TemporaryError,
    Terminated,
    Unavailable,
    unstorable_text,
)
from oneoff.runtime import signals
from oneoff.utils.files import file_advice, file_problem
from oneoff.utils.places import error_text, is_from_pydantic, message_of, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_MODULES = frozenset(
    "aiosqlite alembic arq asyncpg pydantic pydantic_settings redis sqlalchemy structlog".split()
)
"""The packages that the framework imports; `pip install` takes the same names."""
_EXTRAS = {"aiosqlite": "sqlite", "arq": "arq", "asyncpg": "postgres", "redis": "redis"}
"""The extras of the wheel that install some of them."""


class UnexpectedError(CommandError):
    """A bug: in the command, in what it calls, or in the framework."""

    code = "unexpected-error"


ROLLED_BACK = "its work was rolled back"
KEPT = "its work before that was kept; run the same command again to do the rest"

SAVED = "what the run committed before that is saved"


def explain(
    exc: BaseException,
    run_id: str = "",
    line: str = "",
    *,
    undone: bool = True,
    deadline_passed: bool = False,
    writes: bool = False,
    own: Sequence[str] = (),
) -> CommandError:
    """Return the error to show for an exception.

    Args:
        exc: The exception that ended the run.
        run_id: Id of the run; named in unexpected errors, so that its log can be found.
        line: The command line, for the advice on what to try next.
        undone: Whether the run's work was rolled back; work on Redis or in files can't be.
        deadline_passed: Whether `--timeout` stopped the run; a command may have its own timeouts.
        writes: Whether the run may write, so that only the database itself can refuse a write.
        own: Import strings of the project's exceptions that are not bugs.
    """
    what_now = ROLLED_BACK if undone else KEPT
    if isinstance(exc, CommandError):
        # A module of the project, or of a command, that imports a missing package of the framework.
        imports = isinstance(exc, ConfigurationError)
        return (_from_import(exc.__cause__) if imports else None) or exc
    is_cancelled = isinstance(exc, asyncio.CancelledError | signals.SignalReceived)
    if is_cancelled and (signals.received() or not deadline_passed):
        return _interrupted(exc, what_now)
    if deadline_passed:  # other errors are consequences of it, as those of a signal below
        return DeadlineReached(
            "the run did not end within --timeout",
            why=what_now,
            try_=(
                "give it more time with a longer --timeout",
                "or find out which other runs it waits for: python manage.py audit list",
            ),
        )
    if signals.received():
        # While a signal cancels the run, a driver may raise other errors, for example because its
        # connection was only half opened. They are consequences of the signal.
        return _interrupted(exc, what_now)
    if isinstance(exc, UnicodeEncodeError):  # by a driver; it encodes each text that it sends
        return _with_consequence(unstorable_text(), undone=undone)
    in_database = _from_database(exc, writes=writes)
    if in_database is not None:
        return _with_consequence(in_database, undone=undone)
    known = _from_project(exc, own, what_now) or _from_import(exc) or _from_redis(exc)
    known = known or _from_file(exc, what_now)
    if known is not None:
        return known
    place = place_of(exc)
    return UnexpectedError(
        error_text(exc),
        why="this is a bug in the command or in code that it calls"
        + (f", at {place}; {what_now}" if place else f"; {what_now}"),
        try_=(
            f"{line} --traceback" if line else "run the same command with --traceback",
            *((f"search the logs for run {run_id}",) if run_id else ()),
        ),
    )


def _from_project(exc: BaseException, own: Sequence[str], what_now: str) -> CommandError | None:
    """Return the error for an exception that the project declares, or for input that is not valid.

    The module of a raised exception is imported already, so none is imported here.
    """
    for name in own:
        module, _, path = name.partition(":")
        kind = getattr(sys.modules.get(module), path, None)
        if isinstance(kind, type) and isinstance(exc, kind):
            return CommandError(message_of(exc) or type(exc).__name__, why=what_now)
    if is_from_pydantic(exc):
        return DataError(error_text(exc), why=what_now, code="bad-input")
    return None


def _with_consequence(error: CommandError, *, undone: bool) -> CommandError:
    """Add to an error that stopped a statement what that means for the work of the run."""
    if type(error) in (CommandError, DataError, TemporaryError, Unavailable):
        consequence = "nothing was written" if undone else SAVED
        error.why = f"{error.why}; {consequence}" if error.why else consequence
    return error


def _interrupted(exc: BaseException, what_now: str) -> Interrupted:
    signum = exc.signum if isinstance(exc, signals.SignalReceived) else signals.received()
    code = signals.exit_code_of(signum) if signum else ExitCode.INTERRUPTED
    if signum and code == ExitCode.TERMINATED:
        return Terminated(f"stopped by {Signals(signum).name}", why=what_now)
    return Interrupted("interrupted", why=what_now)


def _from_import(exc: BaseException | None) -> CommandError | None:
    """Return the error for a package that the framework needs and that is not installed."""
    missing = (getattr(exc, "name", "") or "").partition(".")[0]
    if not isinstance(exc, ModuleNotFoundError) or missing not in _MODULES:
        return None
    extra = f"'oneoff[{_EXTRAS[missing]}]'" if missing in _EXTRAS else missing
    return ConfigurationError(
        f"the Python package {missing!r} is not installed in {sys.prefix}",
        try_=(
            "activate the project's virtual environment: source .venv/bin/activate",
            f"or install it: pip install {extra}",
        ),
        code="missing-dependency",
    )


def _from_file(exc: BaseException, what_now: str) -> CommandError | None:
    """Return the error for a file that can't be read or written: not a bug, unless the path is."""
    problem = file_problem(exc) if isinstance(exc, OSError) else ""
    if not isinstance(exc, OSError) or not problem:
        return None
    place = place_of(exc)
    return CommandError(
        problem,
        why=f"needed at {place}; {what_now}" if place else what_now,
        try_=file_advice(exc),
        code="file-error",
    )


def _from_database(exc: BaseException, *, writes: bool) -> CommandError | None:
    """Let the database adapter translate the exception, if SQLAlchemy is loaded."""
    if "sqlalchemy" not in sys.modules:
        return None
    from oneoff.database.errors import translate_error, unwritable_error

    error = translate_error(exc)
    return unwritable_error(exc) if writes and isinstance(error, ReadOnlyViolation) else error


def _from_redis(exc: BaseException) -> CommandError | None:
    """Let the Redis adapter translate the exception, if the driver is loaded."""
    if "redis" not in sys.modules:
        return None
    from oneoff.redis.errors import translate_redis_error

    return translate_redis_error(exc)
