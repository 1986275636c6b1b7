"""Explain a failed revision: which one, where, why, and the state of the database."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from oneoff.core.errors import CommandError, ConfigurationError, TemporaryError, Unavailable
from oneoff.database.errors import translate_error

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep

    from oneoff.services.migrations.history import History


# Alembic copies a SQLite table into one of this name, drops the old one, and renames the copy.
_LEFT_BY_ALEMBIC = re.compile(r'table "?(_alembic_tmp_.+?)"? already exists')


class RollbackStopped(CommandError):
    """A revision was undone, or may have been. A retry could undo another one."""

    code = "rollback-stopped"


def own_sqlstate(exc: BaseException) -> str:
    """Return the SQLSTATE of an error, or an empty text.

    Unlike `sqlstate_of`, it ignores the errors that this one was raised from. If a revision catches
    a lock timeout and raises its own error, it must not be tried again.
    """
    cause = exc.orig if isinstance(exc, DBAPIError) else exc
    return str(getattr(cause, "sqlstate", None) or "")


def message_of(exc: BaseException) -> str:
    """Return the first line of an error's message. Later lines may contain values of rows."""
    if isinstance(exc, CommandError):
        return exc.message
    if isinstance(exc, DBAPIError) and exc.orig is not None:
        # SQLAlchemy's own errors of asyncpg begin with the class: "<class '...'>: text".
        return str(exc.orig).partition("\n")[0].rpartition("'>: ")[2]
    return f"{type(exc).__name__}: {exc}".partition("\n")[0]


def step_error(
    exc: Exception,
    history: History,
    step: RevisionStep | None,
    *,
    done: Sequence[RevisionStep],
    left: Sequence[RevisionStep],
    partly: bool,
    together: bool = False,
) -> CommandError:
    """Return the error that explains a failed step to the operator.

    Args:
        exc: The exception of the step.
        history: Describes revisions.
        step: The step that failed; None if the error came before a step or between two.
        done: The steps that are committed.
        left: The steps after the failed one.
        partly: Whether the step had already committed a part of its work.
        together: Whether the steps and a reset before them share one transaction.
    """
    if isinstance(exc, ConfigurationError):
        return exc
    state = own_sqlstate(exc)
    what = message_of(exc) + (f" (SQLSTATE {state})" if state else "")
    lost = isinstance(translate_error(exc), Unavailable)
    if step is None and lost:
        return Unavailable(
            f"the connection was lost before the next revision: {what}",
            why="all was rolled back" if together else "; ".join(progress(done, left)),
            try_="python manage.py db status",
            code="connection-lost",
        )
    if step is None:
        return CommandError(f"env.py failed: {what}", code="migration-failed")
    revision = history.describe(step.revision.revision)
    line = line_in(exc, Path(step.revision.path))
    name = f"revision {revision.id} ({revision.message})"
    kind = Unavailable if lost else CommandError
    return kind(
        f"{name} failed at {revision.file}{f':{line}' if line else ''}: {what}",
        why="; ".join(_state(what, done, left, partly=partly, together=together)),
        try_=_advice(step, revision.file, what, partly=partly, lost=lost, together=together),
        code="connection-lost" if lost else "migration-failed",
        data={
            "failed": revision.id,
            "sqlstate": state,
            "file": revision.file,
            "line": line,
            "done": [item.revision.revision for item in done],
            "left": [item.revision.revision for item in left],
        },
    )


@contextmanager
def no_retry_of_rollback(done: Sequence[RevisionStep]) -> Iterator[None]:
    """After a revision was undone, raise no error whose exit code asks for a retry.

    The same `rollback` could undo other revisions than those that were left.

    Args:
        done: The steps that are committed when the error comes.
    """
    try:
        yield
    except (Unavailable, TemporaryError) as exc:
        undone = [step.revision.revision for step in done if not step.is_upgrade]
        if not undone:
            raise
        raise RollbackStopped(
            exc.message,
            why="; ".join(filter(None, (exc.why, f"undone: {', '.join(undone)}"))),
            try_="python manage.py db status",
            data=exc.data,
        ) from exc


def _state(
    what: str,
    done: Sequence[RevisionStep],
    left: Sequence[RevisionStep],
    *,
    partly: bool,
    together: bool,
) -> list[str]:
    if together:
        if partly:
            return ["a revision left its transaction; what was done before that is kept"]
        return ["all was rolled back, and nothing was dropped"]
    facts = ["it was rolled back"]
    if _LEFT_BY_ALEMBIC.search(what):
        facts.insert(0, "an interrupted migration left this copy, which no revision needs")
    if partly:
        facts = ["part of it may have been committed outside its transaction, and is kept"]
    return facts + progress(done, left)


def progress(done: Sequence[RevisionStep], left: Sequence[RevisionStep]) -> list[str]:
    """Return which steps are committed and which are not."""
    verb = "applied" if all(step.is_upgrade for step in [*done, *left]) else "rolled back"
    facts = []
    if done:
        facts.append(f"{verb} before it: {', '.join(item.revision.revision for item in done)}")
    if left:
        facts.append(f"not {verb}: {', '.join(item.revision.revision for item in left)}")
    return facts


def _advice(
    step: RevisionStep, file: str, what: str, *, partly: bool, lost: bool, together: bool
) -> list[str]:
    again = "python manage.py " + ("migrate" if step.is_upgrade else "rollback")
    if together and not partly:
        again = "python manage.py db reset --dry-run"
    if lost:
        return [again]
    left = _LEFT_BY_ALEMBIC.search(what)
    if left:
        return [f"""python manage.py db shell --write -c 'DROP TABLE "{left[1]}"'""", again]
    advice = [f"correct {file}", again]
    if partly and not together:
        advice.insert(0, "undo its changes by hand, or make it skip objects that already exist")
    return advice


def line_in(exc: BaseException, path: Path) -> int:
    """Return the last line of the file in the error's traceback; 0 if the file is not in it."""
    wanted = path.resolve()
    lines = [
        frame.lineno or 0
        for frame in traceback.extract_tb(exc.__traceback__)
        if Path(frame.filename).resolve() == wanted
    ]
    return lines[-1] if lines else 0
