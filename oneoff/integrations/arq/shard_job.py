"""Work on a shard in a worker, if the database has an open shard with the id in the job.

`shard_function` in `worker.py` calls `do_shard_job`. It runs the command of the batch through the
executor, as `manage.py` would. The run has the id of its shard in `run.shard`, which
`oneoff.services.batch.run.start` reads. The supervisor reads the outcome from the row of the shard.

A job contains only the id of a row. The command, its arguments, the operator who started it and the
confirmed target are read from the database. So anyone who can only write to Redis can't start work
that an operator has not started. A job with any other argument does nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select, update

from oneoff.core.errors import CommandError, ConfigurationError
from oneoff.core.options import GlobalOptions
from oneoff.core.outcome import Call, Outcome
from oneoff.core.parsing import parse
from oneoff.core.run import Operator
from oneoff.database.engine import Database
from oneoff.database.tables import batches, runs
from oneoff.runtime.audit.abandoned import close_abandoned
from oneoff.runtime.error_translation import explain
from oneoff.runtime.executor import Execution
from oneoff.services.batch.command import BatchCommand
from oneoff.services.batch.state.checkpoints import ENDED, State
from oneoff.services.batch.state.queries import is_active, with_run
from oneoff.services.batch.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.runtime.application import Application


class Assignment(NamedTuple):
    """One shard that a worker may work on, with its rows in the database.

    Attributes:
        shard: The row of the shard.
        parent: The row of its parent batch.
        supervisor: The row of the run that queued the shard.
    """

    shard: Mapping[Any, Any]
    parent: Mapping[Any, Any]
    supervisor: Mapping[Any, Any]


async def do_shard_job(app: Application, shard_id: str) -> int | None:
    """Work on a shard for one turn; return its fence if it needs another job.

    Args:
        app: The loaded project of the worker.
        shard_id: The argument of the job.
    """
    # This connection reads before the run and writes after it. The run opens its own connections.
    database = Database(app.database_url(), run_id="worker", project=app.project)
    try:
        async with Transactions(database) as transactions, transactions.begin() as connection:
            assignment = await _find(connection, database, shard_id)
        if assignment is None:
            return None
        error = await _run(app, assignment)
        async with Transactions(database) as transactions, transactions.begin() as connection:
            return await _settle(connection, assignment, error)
    finally:
        await database.dispose()


async def _find(
    connection: AsyncConnection, database: Database, shard_id: str
) -> Assignment | None:
    """Return the shard if workers may work on it and no run does."""
    # Before this, a run whose process died still counts as active, and its shard as taken.
    await close_abandoned(connection, database)
    shard = await _row(connection, shard_id)
    parent = shard and await _row(connection, shard["parent"])
    if not shard or not parent or not parent["confirmed"] or is_active(shard):
        return None
    if {State(shard["status"]), State(parent["status"])} & ENDED:
        return None
    query = select(runs).where(runs.c.id == parent["run_id"])
    supervisor = (await connection.execute(query)).mappings().one_or_none()
    return None if supervisor is None else Assignment(shard, parent, supervisor)


async def _row(connection: AsyncConnection, batch_id: str) -> Mapping[Any, Any] | None:
    query = with_run().where(batches.c.id == batch_id)
    row: Mapping[Any, Any] | None = (await connection.execute(query)).mappings().one_or_none()
    return row


async def _run(app: Application, assignment: Assignment) -> CommandError | None:
    """Run the command as `manage.py` would; return the error if it failed."""
    try:
        outcome = await _execute(app, assignment)
    except Exception as exc:  # noqa: BLE001 - stored in the shard, for the supervisor
        return explain(exc)
    if outcome.cause is not None and not isinstance(outcome.cause, Exception):
        raise outcome.cause  # the worker must stop; ARQ passes the job to another worker
    return outcome.error


async def _execute(app: Application, assignment: Assignment) -> Outcome:
    name, command = _command(app, assignment.parent)
    options = _options(assignment)
    # Only for the record and for messages. The command takes its shard from the run, not from here.
    argv = [*assignment.parent["command"].split(), "--shard", assignment.shard["part"]]
    call = Call(name, command, options, argv, f"python manage.py {' '.join(argv)}")
    run = replace(
        app.new_run(name, options),
        operator=Operator(name=assignment.supervisor["operator"], source="parent-run"),
        parent=assignment.supervisor["id"],
        shard=assignment.shard["id"],
    )
    return await Execution.from_code(app, call, run=run).run()


def _command(app: Application, parent: Mapping[Any, Any]) -> tuple[str, BatchCommand]:
    """Create the command that started the parent batch, with its inputs; return its name too."""
    entry, words = app.registry.find(parent["command"].split())
    command_class = app.registry.load(entry)
    values = json.loads(parent["arguments"])
    if words:  # a command that runs batches by name: the remaining words select one
        occasion = {"once": values["once"]} if "once" in values else {}
        values = {**parse(command_class, words, name=entry.name).values, **occasion}
    command = command_class(**values)
    if not isinstance(command, BatchCommand):
        raise ConfigurationError(f"{entry.name} is no batch command", code="batch-arguments")
    return app.registry.name_of(command_class), command


def _options(assignment: Assignment) -> GlobalOptions:
    """Return the supervisor's options. The gate compares its confirmed target with this target."""
    options = GlobalOptions()
    options.no_input = True
    options.confirm = assignment.parent["confirmed"]
    for name in ("reason", "ticket", "break_glass"):
        setattr(options, name, assignment.supervisor[name])
    return options


async def _settle(
    connection: AsyncConnection, assignment: Assignment, error: CommandError | None
) -> int | None:
    """Store an error that occurred before the claim; return the fence if another job is needed.

    An error after the claim is already in the row of the shard: the run stored it when it stopped.
    """
    row = await _row(connection, assignment.shard["id"])
    if row is None or State(row["status"]) in ENDED:
        return None
    # Every claim raises the fence. If it is the same, the run ended before it claimed the shard.
    if row["fence"] == assignment.shard["fence"]:
        await _write_failed(connection, assignment.shard, error or _not_claimed(assignment))
        return None
    resumes = error is None and State(row["status"]) is State.STOPPED
    return int(row["fence"]) if resumes else None


async def _write_failed(
    connection: AsyncConnection, shard: Mapping[Any, Any], error: CommandError
) -> None:
    """Set the shard to stopped, unless another run has claimed it meanwhile."""
    # Raise the fence as a claim would: the supervisor counts one failure for each fence, and the
    # next job must have another id, because ARQ ignores an id that already exists.
    failed = {
        "status": State.STOPPED.value,
        "note": error.message,
        "exit_code": int(error.exit_code),
        "fence": batches.c.fence + 1,
    }
    unclaimed = (batches.c.id == shard["id"], batches.c.fence == shard["fence"])
    await connection.execute(update(batches).where(*unclaimed).values(failed))


def _not_claimed(assignment: Assignment) -> CommandError:
    return CommandError(
        f"{assignment.parent['command']} ended in a worker without claiming the shard",
        try_="make handle run its batches in a worker as it does in the run that queued the shards",
    )
