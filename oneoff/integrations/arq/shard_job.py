"""What a worker does with a shard that was handed to it: nothing the database does not say is open.

The job names a row, and no more. Which command that is, with which arguments, who started it and
whether it was confirmed is read from the database; a job that names anything else does nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select, update

from oneoff.core.errors import CommandError, ConfigurationError
from oneoff.core.options import GlobalOptions
from oneoff.core.outcome import Call, Outcome
from oneoff.core.parsing import parse
from oneoff.core.run import Operator, Run
from oneoff.database.engine import Database
from oneoff.database.tables import batches, runs
from oneoff.runtime.audit.record import reconcile
from oneoff.runtime.error_translation import explain
from oneoff.runtime.executor import Execution
from oneoff.runtime.logs.loggers import Logs, level_of
from oneoff.runtime.terminal import Terminal
from oneoff.services.batch.command import BatchCommand
from oneoff.services.batch.run.current_shard import assigned
from oneoff.services.batch.state.checkpoints import ENDED, State
from oneoff.services.batch.state.summary import is_at_work
from oneoff.services.batch.transactions import Transactions
from oneoff.utils.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.runtime.application import Application


class Assignment(NamedTuple):
    """One shard that is open, and what the database says of it.

    Attributes:
        shard: Its row.
        whole: The row of the batch that it belongs to.
        supervisor: The row of the run that handed it out.
    """

    shard: Mapping[Any, Any]
    whole: Mapping[Any, Any]
    supervisor: Mapping[Any, Any]


async def work_on(app: Application, shard_id: str) -> int | None:
    """Do a turn at a shard; return its fence if it needs another turn.

    Args:
        app: The worker's project.
        shard_id: As the job says.
    """
    database = Database(app.database_url(), run_id="worker")
    try:
        found = await _open(database, shard_id)
        if found is None:
            return None
        error = await _run(app, found)
        return await _after(database, found, error)
    finally:
        await database.dispose()


@asynccontextmanager
async def _transaction(database: Database) -> AsyncIterator[AsyncConnection]:
    transactions = Transactions(database)
    try:
        async with transactions.begin() as connection:
            yield connection
    finally:
        await transactions.close()


async def _open(database: Database, shard_id: str) -> Assignment | None:
    """Return the shard if workers may do it, and none does."""
    async with _transaction(database) as connection:
        await reconcile(connection, database)
        shard = await _row(connection, shard_id)
        whole = shard and await _row(connection, shard["parent"])
        if not shard or not whole or not _is_open(shard, whole):
            return None
        query = select(runs).where(runs.c.id == whole["run_id"])
        supervisor = (await connection.execute(query)).mappings().one_or_none()
        return None if supervisor is None else Assignment(shard, whole, supervisor)


async def _row(connection: AsyncConnection, batch_id: str) -> Mapping[Any, Any] | None:
    query = select(batches, runs.c.status.label("run_status"))
    query = query.outerjoin(runs, runs.c.id == batches.c.run_id).where(batches.c.id == batch_id)
    return (await connection.execute(query)).mappings().one_or_none()


def _is_open(shard: Mapping[Any, Any], whole: Mapping[Any, Any]) -> bool:
    ended = {State(shard["status"]), State(whole["status"])} & ENDED
    return bool(whole["confirmed"]) and not ended and not is_at_work(shard)


async def _run(app: Application, found: Assignment) -> CommandError | None:
    """Run the command as `manage.py` would; return what it failed with."""
    token = assigned.set(found.shard["id"])
    try:
        outcome = await _execute(app, found)
    except Exception as exc:  # noqa: BLE001 - written down for who waits for the shard
        return explain(exc)
    finally:
        assigned.reset(token)
    if outcome.cause is not None and not isinstance(outcome.cause, Exception):
        raise outcome.cause  # the worker is told to stop; its queue gives the job to another
    return outcome.error


async def _execute(app: Application, found: Assignment) -> Outcome:
    name, command = _command(app, found.whole)
    options = _options(found)
    terminal = Terminal(None, sys.stdout, sys.stderr, os.environ)
    redactor = Redactor(app.config.environ)
    argv = [*found.whole["command"].split(), "--shard", found.shard["part"]]
    call = Call(name, command, options, argv, f"python manage.py {' '.join(argv)}")
    logs = Logs(terminal, redactor, level_of(app.config, options, terminal))
    run = _as_supervised(app.new_run(name, options), found)
    return await Execution(app, call, terminal, redactor, logs, run=run).run()


def _command(app: Application, whole: Mapping[Any, Any]) -> tuple[str, BatchCommand]:
    """Build the command that began the whole, with the inputs it had, and return its name."""
    entry, words = app.registry.find(whole["command"].split())
    command_class = app.registry.load(entry)
    values = json.loads(whole["arguments"])
    if words:  # a command that runs batches by name: the rest of its line says which
        occasion = {"once": values["once"]} if "once" in values else {}
        values = {**parse(command_class, words, name=entry.name).values, **occasion}
    command = command_class(**values)
    if not isinstance(command, BatchCommand):
        raise ConfigurationError(f"{entry.name} is no batch command", code="batch-arguments")
    return app.registry.name_of(command_class), command


def _options(found: Assignment) -> GlobalOptions:
    """Return what the operator said; the gate compares the confirmed target with where it is."""
    options = GlobalOptions()
    options.no_input = True
    options.confirm = found.whole["confirmed"]
    for name in ("reason", "ticket", "break_glass"):
        setattr(options, name, found.supervisor[name])
    return options


def _as_supervised(run: Run, found: Assignment) -> Run:
    operator = Operator(name=found.supervisor["operator"], source="parent-run")
    return replace(run, operator=operator, parent=found.supervisor["id"])


async def _after(database: Database, found: Assignment, error: CommandError | None) -> int | None:
    """Write down an error that came before the claim; return the fence if it goes on."""
    async with _transaction(database) as connection:
        row = await _row(connection, found.shard["id"])
        if row is None or State(row["status"]) in ENDED:
            return None
        claimed = row["fence"] != found.shard["fence"]
        if not claimed:
            await _write_failed(connection, found.shard, error or _not_taken_up(found))
        goes_on = claimed and error is None and State(row["status"]) is State.STOPPED
        return int(row["fence"]) if goes_on else None


async def _write_failed(
    connection: AsyncConnection, shard: Mapping[Any, Any], error: CommandError
) -> None:
    """Stop the shard, unless somebody has claimed it by now; its next job is another one."""
    failed = {
        "status": State.STOPPED.value,
        "note": error.message,
        "exit_code": int(error.exit_code),
        "fence": batches.c.fence + 1,
    }
    mine = (batches.c.id == shard["id"], batches.c.fence == shard["fence"])
    await connection.execute(update(batches).where(*mine).values(failed))


def _not_taken_up(found: Assignment) -> CommandError:
    return CommandError(
        f"{found.whole['command']} ended in a worker without taking the shard up",
        try_="let handle run its batches in a worker as in the run that handed them out",
    )
