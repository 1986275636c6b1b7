"""`data import --resume`: a transaction for each batch of a file's rows, with the place in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import DataError
from oneoff.services.batch.rows.selection import Step
from oneoff.services.batch.run.files import FileBatch, FileSelection, Place
from oneoff.services.data.imports.readers.base import CsvReader, Parsed, Staged
from oneoff.services.data.imports.readers.csv_reader import Chunk, lines_of
from oneoff.services.data.imports.rejects import Rejects
from oneoff.services.data.imports.source import skip_bytes
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    import io

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.runtime.terminal import Terminal
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.base import Reader
    from oneoff.services.data.imports.request import Imported, Request
    from oneoff.services.data.imports.source import Source

DEFAULT_ROWS = 10_000
_DIGITS = 16
_MENDED = (
    "correct it; a file that was changed is begun again, and what is there left alone: "
    "--new-run --on-conflict skip"
)


class FileRows(FileSelection):
    """The rows of a csv or jsonl file, from any line on.

    Args:
        command: How large batches are.
        reader: Of the file.
        plan: What is imported.
        terminal: Of the run.
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
        header = reader.header if isinstance(reader, CsvReader) else None
        self._begin = Place(
            header.lines if header else 0, header.size if header else 0, self.digest
        )
        self._stream: io.BufferedReader[Any] | None = None
        self._at = self._begin

    def rows_left(self, after: Place | None) -> int:
        """Return how many lines are left."""
        return max(self._lines - (after or self._begin).line, 0)

    async def step(self, connection: AsyncConnection, after: Any, size: int) -> Step:
        """Import the rows that follow a place.

        Raises:
            DataError: A row can't be; the batches before it stay.
        """
        place = self.place(after) or self._begin
        chunk, then = await in_daemon_thread(lambda: self._read(place, size))
        if not chunk.raws:
            return Step(None, 0, 0, last=True)
        try:
            done = await self._import(connection, chunk, then)
        except DataError as exc:
            exc.why = exc.why.replace("nothing was imported", "its batch was rolled back")
            exc.try_ = (_MENDED,)
            raise
        return Step(str(then), len(chunk.raws), done.changed, last=len(chunk.raws) < size)

    async def _import(self, connection: AsyncConnection, chunk: Chunk, then: Place) -> Imported:
        reader = _Part(self._reader, chunk)
        if self._plan.table.dialect == "postgresql" and isinstance(self._reader, CsvReader):
            from oneoff.services.data.imports.postgresql.copy_csv import CsvImport, driver_of

            importing = CsvImport(
                await driver_of(connection), self._plan, reader.source, self._reader.header
            )
            importing.first = chunk.line
            return await importing.run(_once(chunk))
        async with Rejects("", reader, self._terminal) as rejects:
            if self._plan.table.dialect == "sqlite":
                from oneoff.services.data.imports.sqlite.insert import import_sqlite

                return await import_sqlite(connection, self._plan, reader, rejects, _say_nothing)
            from oneoff.services.data.imports.postgresql.staged_import import import_staged

            return await import_staged(connection, self._plan, reader, rejects, _say_nothing)

    def _read(self, place: Place, size: int) -> tuple[Chunk, Place]:
        """Return rows that follow a place, and the place behind them; blocks."""
        if self._stream is None or place != self._at:
            self._stream = self._reader.source.stream()
            skip_bytes(self._stream, place.offset)
        is_csv = not self._reader.json
        raws: list[bytes] = []
        lines: list[int] = []
        line, offset, part = place.line, place.offset, b""
        while len(raws) < size and (read := self._stream.readline()):
            offset, part = offset + len(read), part + read
            line += 1
            if is_csv and part.count(b'"') % 2:
                continue
            raw = _without_end(part, crlf=is_csv)
            if is_csv or raw.strip():
                raws.append(raw)
                lines.append(line - raw.count(b"\n"))
            part = b""
        self._at = Place(line, offset, self.digest)
        return Chunk(lines[0] if lines else line + 1, raws, lines, offset - place.offset), self._at


class _Part:
    """A reader of a part of a file: what one batch imports."""

    def __init__(self, reader: Reader, chunk: Chunk) -> None:
        self._reader, self._chunk = reader, chunk
        self.source, self.names, self.json = reader.source, reader.names, reader.json

    def chunks(self) -> Iterator[Chunk]:
        """Give the rows of the batch."""
        yield self._chunk

    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Return the cells of a chunk."""
        return self._reader.parse(chunk, plan)

    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Return a chunk as the server takes it."""
        return self._reader.stage(chunk, first)

    def begin(self) -> bytes:
        """Return what stands before rejects."""
        return self._reader.begin()

    def between(self, at: int) -> bytes:
        """Return what stands between rejects."""
        return self._reader.between(at)

    def end(self) -> bytes:
        """Return what stands behind rejects."""
        return self._reader.end()


def file_batch(request: Request) -> FileBatch:
    """Return what the engine of batches needs to know of an import."""
    batch = FileBatch(new_run=request.new_run)
    size = request.batch_size or DEFAULT_ROWS
    # The class says how large batches are; here the operator does.
    vars(batch).update(batch_size=size, largest_batch=size)
    return batch


def arguments_of(request: Request) -> str:
    """Return what makes an import the same as one that was stopped."""
    said = {
        "table": request.table,
        "file": request.path,
        "format": request.format,
        "on_conflict": request.on_conflict,
        "key": list(request.key),
        "columns": list(request.columns),
    }
    return json.dumps(said, sort_keys=True, ensure_ascii=False)


def _digest_of(source: Source) -> tuple[str, int]:
    """Return the SHA-256 of a file, decompressed, and how many lines it has."""
    digest, lines = hashlib.sha256(), 0
    last = b""
    for block in source.read_blocks():
        digest.update(block)
        lines += block.count(b"\n")
        last = block[-1:]
    return digest.hexdigest()[:_DIGITS], lines + (last != b"\n")


def _without_end(raw: bytes, *, crlf: bool) -> bytes:
    raw = raw.removesuffix(b"\n")
    return raw.removesuffix(b"\r") if crlf else raw


async def _once(chunk: Chunk) -> AsyncIterator[bytes]:
    yield lines_of(chunk)


def _say_nothing(_: Chunk) -> None:
    """Leave it to the engine to show how many rows are done."""
