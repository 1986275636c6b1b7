"""Run the project's env.py in process: on a connection of ours, or without one to show the SQL."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep

from oneoff.services.migrations.env import SETTINGS
from oneoff.services.migrations.history import History

if TYPE_CHECKING:
    from sqlalchemy import Connection

_Steps = Callable[[Any, MigrationContext], Iterable[RevisionStep]]

_DROP = re.compile(r"^(?:DROP|ALTER TABLE .+ DROP) .+;$", re.MULTILINE)
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def own_turn() -> AsyncIterator[None]:
    """Wait until no other task is in Alembic, whose context is global to the process."""
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        yield


def run_online(connection: Connection, history: History, steps: _Steps, **settings: Any) -> None:
    """Run env.py on a connection.

    Args:
        connection: Not in a transaction, if steps are to be committed.
        history: Where env.py and the revisions are.
        steps: Gives the steps to run, from the database's revisions and Alembic's context.
        **settings: More options for `context.configure`.
    """
    _run(history, {"connection": connection, **settings}, fn=steps)


class StepSQL(NamedTuple):
    """The statements of one step.

    Attributes:
        step: The step.
        sql: As Alembic writes it, with BEGIN and COMMIT.
        problem: Why it can't be shown whole; empty when it can.
    """

    step: RevisionStep
    sql: str
    problem: str

    @property
    def drops(self) -> list[str]:
        """The statements that drop something of the project."""
        return [text.rstrip(";") for text in _DROP.findall(self.sql)]


def render_offline(
    history: History, dialect: str, current: tuple[str, ...], steps: Iterable[RevisionStep]
) -> list[StepSQL]:
    """Return the SQL of steps, without a database.

    Args:
        history: Where env.py and the revisions are.
        dialect: "postgresql" or "sqlite".
        current: The database's revisions.
        steps: In the order they would run.
    """
    buffer = StringIO()
    shown: list[StepSQL] = []

    def one_by_one(_heads: Any, context: MigrationContext) -> Iterator[RevisionStep]:
        for step in steps:
            problems: list[str] = []
            _forgive(step, context, problems)
            begin = buffer.tell()
            yield step
            shown.append(StepSQL(step, buffer.getvalue()[begin:], "".join(problems)))

    settings = {
        "dialect_name": dialect,
        "dialect_opts": {"paramstyle": "named"},  # others double every % in the text
        "literal_binds": True,
        "output_buffer": buffer,
    }
    _run(history, settings, fn=one_by_one, as_sql=True, starting_rev=current or None)
    return shown


def _forgive(step: RevisionStep, context: MigrationContext, problems: list[str]) -> None:
    """Let a revision that asks the database a question say so, and the others be shown."""
    migrate = step.migration_fn

    @wraps(migrate)  # Alembic shows its name
    def forgiving(**arguments: Any) -> None:
        try:
            migrate(**arguments)
        except Exception as exc:  # noqa: BLE001 - whatever it is, only this one can't be shown
            problem = str(exc).partition("\n")[0] or type(exc).__name__
            problems.append(problem)
            context.impl.static_output(f"-- not shown further, it needs the database: {problem}")

    step.migration_fn = forgiving


def _run(history: History, settings: dict[str, Any], **options: Any) -> None:
    history.config.attributes[SETTINGS] = settings
    with EnvironmentContext(history.config, history.scripts, **options):
        history.scripts.run_env()
