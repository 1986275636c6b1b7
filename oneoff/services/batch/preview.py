"""Preview a batch in a dry run: process one sample, roll it back, and count the other rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.core.policy import Mode
from oneoff.core.result import Result
from oneoff.services.batch.rows import ranges
from oneoff.services.batch.rows.cursor import decode, readable
from oneoff.services.batch.rows.selection import Selection, make_selection
from oneoff.services.batch.state.claims import check_shards
from oneoff.services.batch.state.queries import find_current, shard_rows
from oneoff.services.batch.transactions import current_batch
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from oneoff.database.transaction import WorkTransaction
    from oneoff.services.batch.command import BatchRange
    from oneoff.services.batch.state.identity import Identity


class Piece(NamedTuple):
    """The remaining rows of a batch, or of one of its shards.

    Attributes:
        selection: The rows, including those that are done.
        after: The last key that is done.
        part: "3/8"; empty for a batch without shards.
    """

    selection: Selection
    after: Any
    part: str = ""


class Preview:
    """Shows what a real run would do now, after the last checkpoint.

    Args:
        selection: The command with its rows.
        identity: To find the unfinished batch that a real run would resume.
        work: The transaction of the dry run, which the executor rolls back.
        mode: `READ_ONLY` processes no sample, and counts all rows.
    """

    def __init__(
        self,
        selection: Selection,
        identity: Identity,
        work: WorkTransaction,
        mode: Mode,
    ) -> None:
        self._command = selection.command
        self._selection, self._identity = selection, identity
        self._work, self._mode = work, mode

    async def run(self, *, shard_number: int, shards: int) -> Result:
        """Return the preview.

        Args:
            shard_number: The one shard to process; 0 for all.
            shards: Number of shards that the real run would make; 0 for a batch without shards.
        """
        # A sample changes only some rows, so the counts by table would be too low.
        self._work.partial = True
        row = None
        if not self._command.new_run:
            row = await find_current(
                self._work.connection, self._identity, shard_number=shard_number
            )
        if row is not None:
            check_shards(row, shards)
            self._selection.declare_again(row["started_at"])
        pieces = await self._pieces(row, shard_number, shards)
        connection = self._work.connection
        counts = [await piece.selection.count(connection, piece.after) for piece in pieces]
        rows, most = sum(counts), self._command.max_rows
        rows = min(rows, most) if most else rows
        sample = changed = 0
        if rows and self._mode is Mode.ROLLBACK:
            first = next(piece for piece, count in zip(pieces, counts, strict=True) if count)
            sample, changed = await self._sample(first, rows)
        data: dict[str, Any] = {"rows": rows, "processed": sample, "changed": changed}
        data |= {"counted": rows - sample, "resumes": row["id"] if row else None}
        if shards:
            data["ranges"] = [_shown(*each) for each in zip(pieces, counts, strict=True)]
        if not rows:
            return Result.unchanged("nothing to do", data=data)
        return Result.changed(
            f"would process {counted(rows, 'row')}{_where(row, pieces, shards)}: "
            f"{sample:,} processed, of which {changed:,} changed, and rolled back; "
            f"{rows - sample:,} only counted",
            rows=changed + rows - sample,
            data=data,
        )

    async def _pieces(
        self, row: RowMapping | None, shard_number: int, shards: int
    ) -> Sequence[Piece]:
        if not shards:
            return [] if row and row["finished_at"] else [Piece(self._selection, _after(row))]
        if row is None:
            limits = await ranges.split(self._work.connection, self._selection, shards)
            parts = [f"{place}/{shards}" for place in range(1, shards + 1)]
            pieces = [self._piece(*each) for each in zip(limits, parts, strict=True)]
            return pieces[shard_number - 1 : shard_number] if shard_number else pieces
        part = f"{shard_number}/{shards}" if shard_number else ""
        found = await shard_rows(self._work.connection, row["id"], part=part)
        return [
            self._piece(ranges.restored(each["low"], each["high"]), each["part"], _after(each))
            for each in found
            if not each["finished_at"]
        ]

    def _piece(self, limits: BatchRange | None, part: str, after: Any = None) -> Piece:
        return Piece(make_selection(self._command, limits), after, part)

    async def _sample(self, piece: Piece, most: int) -> tuple[int, int]:
        size = min(self._command.batch_size, most)
        # Effects that the sample stores need a batch id; they are rolled back with it.
        token = current_batch.set("dry-run")
        try:
            step = await piece.selection.step(self._work.connection, piece.after, size)
        finally:
            current_batch.reset(token)
        return step.done, step.changed


def _after(row: Mapping[Any, Any] | None) -> Any:
    return None if row is None or row["cursor"] is None else decode(row["cursor"])


def _where(row: RowMapping | None, pieces: Sequence[Piece], shards: int) -> str:
    if shards:
        resuming = f", resuming {row['id']}" if row else ""
        return f" in {len(pieces)} of {counted(shards, 'shard')}{resuming}"
    return f", resuming after {readable(row['cursor'])}" if row and row["cursor"] else ""


def _shown(piece: Piece, rows: int) -> dict[str, Any]:
    limits = piece.selection.limits
    low, high = (None, None) if limits is None else limits
    return {"part": piece.part, "above": low, "up_to": high, "rows": rows}
