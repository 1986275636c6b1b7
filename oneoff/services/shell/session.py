"""Record inputs, end their transactions and explain errors, for every kind of prompt."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import ReadOnlyViolation
from oneoff.core.outcome import Ending
from oneoff.core.policy import Mode
from oneoff.database.roles import EXEMPT
from oneoff.services.shell.evaluation import user_traceback
from oneoff.services.shell.namespace import CachePlaceholder

if TYPE_CHECKING:
    from sqlalchemy import Connection, ExceptionContext
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger

    from oneoff.database.engine import Database
    from oneoff.database.transaction import WorkTransaction
    from oneoff.services.shell.input_record import InputRecord
    from oneoff.services.shell.namespace import LazyCache
    from oneoff.utils.redaction import Redactor

_TRANSACTION = {
    Mode.READ_ONLY: "read-only: the database refuses writes; shell --write allows them",
    Mode.COMMIT: (
        "WRITING: `await session.commit()` saves at once; "
        "uncommitted changes are rolled back at the end"
    ),
    Mode.ROLLBACK: "DRY RUN: you can write; all changes are rolled back at the end",
}


class ShellSession:
    """One interactive session: records inputs, ends their transactions, explains errors.

    Attributes:
        names: The namespace that inputs run in.
        session: The SQLAlchemy session in the namespace.
    """

    def __init__(
        self,
        names: dict[str, Any],
        mode: Mode,
        log: FilteringBoundLogger,
        *,
        inputs: InputRecord,
        cache: LazyCache,
        redactor: Redactor,
        root: Path,
    ) -> None:
        self.names = names
        self.session: AsyncSession = names["session"]
        self._mode, self._log, self._inputs, self._cache = mode, log, inputs, cache
        self._redactor, self._root = redactor, root

    def banner(self, where: str) -> str:
        """Return the text that is shown before the first input.

        Args:
            where: The target: `<database>@<environment>`.
        """
        ready = ", ".join(
            name
            for name, value in self.names.items()
            if not name.startswith("__")
            and not (isinstance(value, CachePlaceholder) and not value.may_open)
        )
        return (
            f"Python {sys.version.split()[0]} on {where}\n"
            f"{_TRANSACTION[self._mode]}\n"
            f"ready: {ready}\n"
            "await works at the top level; every input is recorded; Ctrl-D exits\n"
        )

    async def record(self, source: str) -> None:
        """Record an input in the database and the log stream, before it runs.

        Raises:
            CommandError: The database can't be reached. The caller must not run the input.
        """
        if source.strip():
            number = await self._inputs.add(source)
            self._log.info("shell.input_given", input=number, source=source)
            await self._cache.open_if_named(source, self.names, at_prompt=True)

    async def settle(self) -> None:
        """End the transaction of an input if the shell is read-only.

        While the shell waits for the next input, an open transaction would keep its locks, and a
        migration would have to wait for them.

        Raises:
            ReadOnlyViolation: The session had changes, which were rolled back.
        """
        if self._mode is not Mode.READ_ONLY or not self.session.in_transaction():
            return
        from sqlalchemy.exc import SQLAlchemyError

        try:
            # Unlike a rollback, a commit does not expire the loaded objects.
            await self.session.commit()
        except SQLAlchemyError as exc:
            await self.session.rollback()
            violation = _translated(exc)
            if isinstance(violation, ReadOnlyViolation):
                raise violation from exc

    def explain(self, exc: BaseException) -> str:
        """Return the traceback of an exception, with advice on what to do next."""
        from sqlalchemy.exc import SQLAlchemyError

        text = user_traceback(exc, self._root)
        if isinstance(_translated(exc), ReadOnlyViolation):
            text += "this shell is read-only: exit, and start shell --write\n"
        elif self._mode is Mode.COMMIT and isinstance(exc, SQLAlchemyError):
            text += "the transaction may have failed: `await session.rollback()` starts a new one\n"
        return self.mask(text)

    def mask(self, text: str) -> str:
        """Return a text with the secrets of the process's environment masked."""
        return self._redactor.text(text)

    def left_open(self) -> bool:
        """Return whether a transaction with `--write` was not committed."""
        return self._mode is Mode.COMMIT and self.session.in_transaction()


@asynccontextmanager
async def open_database_session(
    work: WorkTransaction, database: Database, mode: Mode
) -> AsyncIterator[AsyncSession]:
    """Open the SQLAlchemy session of a prompt.

    In a dry run, it is the run's session. Otherwise the run's empty transaction is ended, and the
    session takes connections from the engine: `session.commit()` really commits, and no transaction
    is open while the shell waits for input. In a read-only run, these connections are read-only.
    """
    if mode is Mode.ROLLBACK:
        yield work.session
        return
    from oneoff.database.project_engine import new_session

    await work.rollback()
    with _protection(mode), _noting_commits(work, database):
        async with new_session(database.engine) as session:
            yield session


@contextmanager
def _noting_commits(work: WorkTransaction, database: Database) -> Iterator[None]:
    """Note in `work` what was committed at the prompt: a run that fails later must not deny it."""
    from sqlalchemy import event

    before = work.ending

    def on_commit(connection: Connection) -> None:
        nonlocal before
        if not connection.info.get(EXEMPT):  # not one of the framework's own records
            # The event comes before COMMIT is sent; `on_error` follows if it fails.
            before, work.ending = work.ending, Ending.COMMITTED

    def on_error(context: ExceptionContext) -> None:
        if context.statement is None and work.ending is Ending.COMMITTED:
            work.ending = Ending.UNKNOWN if context.is_disconnect else before

    engine = database.engine.sync_engine
    event.listen(engine, "commit", on_commit)
    event.listen(engine, "handle_error", on_error)
    try:
        yield
    finally:
        event.remove(engine, "commit", on_commit)
        event.remove(engine, "handle_error", on_error)


@contextmanager
def _protection(mode: Mode) -> Iterator[None]:
    """Refuse writes as the run does. The user sees the error, so it does not fail the run."""
    if mode is Mode.COMMIT:
        yield
        return
    from oneoff.database.guards.other_engines import read_only_engines
    from oneoff.redis.other_clients import read_only_clients

    with read_only_engines(mode), read_only_clients(mode):
        yield


def _translated(exc: BaseException) -> BaseException | None:
    from oneoff.database.errors import translate_error

    return translate_error(exc)
