"""The dry run of a batch: a first sample is done and rolled back, the rest is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.batching.attempt import current_batch
from oneoff.batching.checkpoints import find_current
from oneoff.batching.cursor import decode, readable
from oneoff.mode import Mode
from oneoff.result import Result

if TYPE_CHECKING:
    from oneoff.batch import BatchCommand
    from oneoff.batching.identity import Identity
    from oneoff.batching.selection import Selection
    from oneoff.resources.work import WorkTransaction


async def preview(
    command: BatchCommand,
    selection: Selection,
    identity: Identity,
    work: WorkTransaction,
    mode: Mode,
) -> Result:
    """Return what the real run would do now, from where it would begin.

    Args:
        command: With its bounds.
        selection: Its rows.
        identity: To find the unfinished batch that a real run would resume.
        work: The transaction of the dry run, which the executor rolls back.
        mode: In `READ_ONLY` nothing is done, and all is counted.
    """
    work.partial = True
    row = None if command.new_run else await find_current(work.connection, identity)
    cursor = row["cursor"] if row else None
    after = None if cursor is None else decode(cursor)
    finished = row is not None and row["finished_at"] is not None
    left = 0 if finished else await selection.count(work.session, after)
    rows = min(left, command.max_rows) if command.max_rows else left
    sample = changed = 0
    if rows and mode is Mode.ROLLBACK:
        sample, changed = await _sample(command, selection, work, after, min(rows, left))
    data: dict[str, Any] = {"rows": rows, "processed": sample, "changed": changed}
    data |= {"counted": rows - sample, "resumes": row["id"] if row else None}
    if not rows:
        return Result.unchanged("nothing to do", data=data)
    where = f", going on after {readable(cursor)}" if cursor else ""
    return Result.changed(
        f"would go through {rows:,} rows{where}: {sample:,} were processed, of which {changed:,} "
        f"changed, and rolled back; {rows - sample:,} were counted",
        rows=changed + rows - sample,
        data=data,
    )


async def _sample(
    command: BatchCommand, selection: Selection, work: WorkTransaction, after: Any, most: int
) -> tuple[int, int]:
    token = current_batch.set("dry-run")
    try:
        step = await selection.step(work.session, after, min(command.batch_size, most))
    finally:
        current_batch.reset(token)
    return step.done, step.changed
