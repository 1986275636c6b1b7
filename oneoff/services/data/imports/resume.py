"""Import a file in batches for `data import --resume`: each batch commits with its checkpoint.

`pipeline.import_in_batches` passes `FileRows` to `BatchRunner.run_file`. `FileRun`, in
`oneoff.services.batch.run.files`, then runs the same loop as other batches. For each batch the loop
calls `FileRows.step`, which reads the next rows and imports them. The loop saves the end of these
rows in the file as the cursor, and commits. A dry run calls `preview_file` instead of the loop, and
does not commit.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import DataError
from oneoff.services.batch.rows.selection import StepResult
from oneoff.services.batch.run.files import FileBatch, FileSelection, Place
from oneoff.services.data.driver import copy_source, driver_with_settings
from oneoff.services.data.imports.readers.base import Chunk, Parsed, Reader, Staged
from oneoff.services.data.imports.readers.csv_reader import CsvReader
from oneoff.services.data.imports.rejects import Rejects
from oneoff.services.data.imports.source import skip_bytes
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    import io

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.runtime.terminal import Terminal
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.request import ImportRequest
    from oneoff.services.data.imports.source import Source
    from oneoff.services.data.imports.summary import ImportSummary

DEFAULT_ROWS = 10_000
_DIGITS = 16
_CORRECT_AND_START_AGAIN = (
    "correct it, and start again without changing existing rows: --new-run --on-conflict skip"
)


class FileRows(FileSelection):
    """The rows of a csv or jsonl file, from any row on.

    Args:
        command: Declares the size of the batches.
        reader: The reader of the file.
        plan: What is imported.
        terminal: The run's terminal.
    """

    def __init__(
        self,
        command: FileBatch,
        reader: Reader,
        plan: Plan,
        *,
        terminal: Terminal,
    ) -> None:
        super().__init__(command, None)
        self._reader, self._plan, self._terminal = reader, plan, terminal
        self.name = reader.source.name
        self.digest, self._lines = _digest_of(reader.source)
        self.content = json.dumps([plan.table.identity, self.digest])
        self.arguments = json.dumps(_arguments_of(plan, reader), ensure_ascii=False)
        header = reader.header if isinstance(reader, CsvReader) else None
        line, offset = (header.lines, len(header.raw)) if header else (0, 0)
        self._first_place = Place(line, offset, self.digest)
        self._stream: io.BufferedReader[Any] | None = None
        self._stream_place = self._first_place

    def rows_left(self, after: Place | None) -> int:
        """Return the number of lines after a place."""
        return max(self._lines - (after or self._first_place).line, 0)

    async def step(self, connection: AsyncConnection, after: Any, size: int) -> StepResult:
        """Import the rows after a place.

        Raises:
            DataError: A row can't be imported; the batches before it are kept.
        """
        place = self.place(after) or self._first_place
        chunk, end = await in_daemon_thread(lambda: self._read(place, size))
        if not chunk.raw_rows:
            return StepResult(None, 0, 0, last=True)
        try:
            done = await self._import(connection, chunk)
        except DataError as exc:
            exc.why = exc.why.replace("nothing was imported", "its batch was rolled back")
            exc.try_ = (_CORRECT_AND_START_AGAIN,)
            raise
        return StepResult(
            str(end), len(chunk.raw_rows), done.changed, last=len(chunk.raw_rows) < size
        )

    async def _import(self, connection: AsyncConnection, chunk: Chunk) -> ImportSummary:
        """Choose the module that writes the rows, as `pipeline` does for an entire file."""
        if self._plan.table.dialect == "postgresql" and isinstance(self._reader, CsvReader):
            from oneoff.services.data.imports.postgresql.copy_csv import CsvImport, StagedRowRefused

            driver = await driver_with_settings(connection)
            importing = CsvImport(driver, self._plan, self._reader, first_line=chunk.line)
            with suppress(StagedRowRefused):
                return await importing.run(copy_source(chunk.as_lines()))
        reader = _ChunkReader(self._reader, chunk)
        async with Rejects("", reader, self._terminal) as rejects:
            if self._plan.table.dialect == "sqlite":
                from oneoff.services.data.imports.sqlite.insert import import_sqlite

                return await import_sqlite(connection, self._plan, reader, rejects, _no_progress)
            from oneoff.services.data.imports.postgresql.staged_import import import_staged

            return await import_staged(connection, self._plan, reader, rejects, _no_progress)

    def _read(self, place: Place, size: int) -> tuple[Chunk, Place]:
        """Return the rows after a place, and the place after these rows."""
        # A batch usually continues where the stream is. After a resume, or if a batch is repeated,
        # the stream is opened again.
        if self._stream is None or place != self._stream_place:
            self._stream = self._reader.source.stream()
            skip_bytes(self._stream, place.offset)
        is_csv = not self._reader.json
        raw_rows: list[bytes] = []
        lines: list[int] = []
        line, offset, part = place.line, place.offset, b""
        while len(raw_rows) < size and (read := self._stream.readline()):
            offset, part = offset + len(read), part + read
            line += 1
            if is_csv and part.count(b'"') % 2:
                continue  # the line feed is inside quotes
            raw = _without_line_end(part, crlf=is_csv)
            # A blank line is no row in JSON Lines. In csv it is a row with one cell, NULL.
            if is_csv or raw.strip():
                raw_rows.append(raw)
                lines.append(line - raw.count(b"\n"))  # `line` is the last line of the row
            part = b""
        self._stream_place = Place(line, offset, self.digest)
        return Chunk(
            lines[0] if lines else line + 1, raw_rows, lines, offset - place.offset
        ), self._stream_place


class _ChunkReader(Reader):
    """Reads one chunk of a file as if it were the entire file."""

    def __init__(self, reader: Reader, chunk: Chunk) -> None:
        self._reader, self._chunk = reader, chunk
        self.source, self.names, self.json = reader.source, reader.names, reader.json

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunk."""
        yield self._chunk

    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Return the cells of a chunk."""
        return self._reader.parse(chunk, plan)

    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Return a chunk in the format that COPY reads."""
        return self._reader.stage(chunk, first)


def file_batch(request: ImportRequest) -> FileBatch:
    """Return a batch command for an import."""
    batch = FileBatch(new_run=request.new_run)
    size = request.batch_size or DEFAULT_ROWS
    # Other batch commands declare these on their class. Here the operator gives them.
    vars(batch).update(batch_size=size, largest_batch=size)
    return batch


def _arguments_of(plan: Plan, reader: Reader) -> dict[str, Any]:
    """Return what an import does, however its options were typed."""
    return {
        "table": plan.table.identity,
        "file": os.path.realpath(reader.source.path),
        "on_conflict": plan.on_conflict,
        "key": sorted(plan.key),
        "columns": sorted(column.name for column in plan.written),
    }


def _digest_of(source: Source) -> tuple[str, int]:
    """Return the start of the decompressed file's SHA-256 in hex, and its number of lines."""
    digest, lines = hashlib.sha256(), 0
    last = b""
    for block in source.read_blocks():
        digest.update(block)
        lines += block.count(b"\n")
        last = block[-1:]
    return digest.hexdigest()[:_DIGITS], lines + (last != b"\n")


def _without_line_end(raw: bytes, *, crlf: bool) -> bytes:
    if crlf and raw.endswith(b"\r\n"):
        return raw[:-2]
    return raw.removesuffix(b"\n")


def _no_progress(_: Chunk) -> None:
    """Do nothing: the batch run reports the progress."""
