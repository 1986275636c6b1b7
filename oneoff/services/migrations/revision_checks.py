"""Call the checks of revisions: what must hold in the database before a revision is applied.

In the file of the revision, `checks(connection)` raises `CheckFailed` if something is not as the
revision needs it. It may be a coroutine function, which gets an `AsyncConnection`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING

from oneoff.core.errors import CheckFailed, CommandError, ReadOnlyViolation, Refused
from oneoff.core.policy import Mode
from oneoff.database.errors import is_connection_loss, is_read_only_error
from oneoff.services.migrations.errors import line_in, message_of, progress, step_error

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from alembic.script import Script
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.migrations.history import History


class RevisionChecks:
    """Calls the checks of revisions, each in a transaction that can't write.

    Args:
        history: The revisions.
        connect: Opens a read-only connection.
    """

    def __init__(
        self,
        history: History,
        connect: Callable[[], AbstractAsyncContextManager[AsyncConnection]],
    ) -> None:
        self._history = history
        self._connect = connect

    async def run(
        self, step: RevisionStep, done: Sequence[RevisionStep], left: Sequence[RevisionStep]
    ) -> None:
        """Call the checks of a revision that is applied next; do nothing if it has none.

        Args:
            step: The revision.
            done: The steps of the run that are committed.
            left: The steps after this one.

        Raises:
            Refused: A check failed.
            CommandError: The checks can't be called, or tried to write.
        """
        if not _declares_checks(step):
            return
        revision = self._history.describe(step.revision.revision)
        state = "; ".join(progress(done, [step, *left])) if done else "nothing was applied"
        try:
            await self._call(step.revision)
        except CheckFailed as exc:
            raise Refused(
                f"revision {revision.id} ({revision.message}) may not be applied: {exc.message}",
                why=f"checks() in {revision.file} failed; {state}",
                try_=[*exc.try_, "python manage.py migrate"],
                code="revision-check-failed",
                data=exc.data,
            ) from exc
        except CommandError:
            raise
        except Exception as exc:
            if is_connection_loss(exc):
                raise step_error(
                    exc, self._history, None, done=done, left=[step, *left], partly=False
                ) from exc
            line = line_in(exc, Path(step.revision.path))
            raise CommandError(
                f"the checks of revision {revision.id} ({revision.message}) failed at "
                f"{revision.file}{f':{line}' if line else ''}: {message_of(exc)}",
                why=f"they did not end with CheckFailed, so this is no answer; {state}",
                try_=(f"correct {revision.file}", "python manage.py migrate"),
                code="migration-failed",
            ) from exc

    async def failures(self, steps: Iterable[RevisionStep]) -> list[str]:
        """Return a line for each revision whose checks would fail now.

        Those of a later revision may need what an earlier one does. The line says so.
        """
        lines: list[str] = []
        before: list[str] = []
        for step in steps:
            name = step.revision.revision
            try:
                if _declares_checks(step):
                    await self._call(step.revision)
            except Exception as exc:
                if is_connection_loss(exc):
                    raise
                later = f" (before {', '.join(before)})" if before else ""
                lines.append(f"the checks of revision {name} fail now{later}: {message_of(exc)}")
            before.append(name)
        return lines

    async def _call(self, script: Script) -> None:
        from oneoff.runtime.other_connections import read_only_connections

        checks, file = script.module.checks, self._history.describe(script.revision).file
        async with self._connect() as connection:
            try:
                # In a run that only reads, all checks share one transaction, which an error must
                # not end.
                with read_only_connections(Mode.READ_ONLY, clients=False):
                    async with connection.begin_nested():
                        if iscoroutinefunction(checks):
                            answer = await checks(connection)
                        else:
                            answer = await connection.run_sync(checks)
            except Exception as exc:
                if is_read_only_error(exc):
                    raise _wrote(file) from exc
                raise
        if answer is not None:
            raise CommandError(
                f"checks() in {file} returned {answer!r:.50}, which says nothing",
                why="a check that fails raises CheckFailed, and others return nothing",
                try_=f"correct {file}",
                code="broken-revision",
            )


def _declares_checks(step: RevisionStep) -> bool:
    return step.is_upgrade and hasattr(step.revision.module, "checks")


def _wrote(file: str) -> ReadOnlyViolation:
    return ReadOnlyViolation(
        f"checks() in {file} tried to write, but its connection is read-only",
        why="it only decides whether the revision may be applied",
        try_="write in upgrade()",
    )
