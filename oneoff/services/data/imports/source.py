"""Open a file of rows that can be read several times from the start, and decompress it.

Standard input and pipes are first copied to an unnamed temporary file. So they are checked before
the first write, like any other file, and a bad row can be found again.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from oneoff.core.errors import ConfigurationError
from oneoff.services.data.imports.errors import bad_file
from oneoff.services.data.imports.request import STDIN
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from oneoff.core.errors import DataError
    from oneoff.runtime.terminal import Terminal

T = TypeVar("T")

BLOCK = 1 << 20
"""Bytes that are read and sent at a time."""

# Bytes of a compressed file that are decompressed at a time. At most 16 MiB come out: from a byte,
# gzip makes up to 1032 bytes, and zstd up to 128 KiB from four bytes.
_GZIP_PART, _ZSTD_PART = 4 * 1024, 512
_LARGEST_WINDOW = 1 << 27
"""Bytes of earlier output to which zstd may refer; it needs that much memory. `zstd --long` uses as
many, and the usual levels use at most 8 MiB.
"""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BOM = b"\xef\xbb\xbf"


class Source:
    """One file; each stream starts at the beginning of the file.

    Args:
        path: The path as the operator gave it; "-" for standard input.
        file: The open file; no other code changes its position.

    Attributes:
        path: The path as the operator gave it.
        name: The name for messages.
        size: Bytes on the disk.
        signature: The first four bytes, which identify the kind of the file.
    """

    def __init__(self, path: str, file: BinaryIO) -> None:
        self.path, self._file = path, file
        self.name = "standard input" if path == STDIN else path
        self.size = os.fstat(file.fileno()).st_size
        self.signature = os.pread(file.fileno(), 4, 0)

    @property
    def seekable(self) -> BinaryIO:
        """The file as it is on the disk, from the start: for Parquet."""
        self._file.seek(0)
        return self._file

    def stream(self) -> io.BufferedReader[Any]:
        """Return a stream of the decompressed bytes from the start, without a byte order mark."""
        raw: io.RawIOBase = _IndependentFile(self._file.fileno())
        make, part = self._decompressor()
        if make is not None:
            raw = _Decompressed(io.BufferedReader(raw, BLOCK), make, part, self.name)
        stream: io.BufferedReader[Any] = io.BufferedReader(raw, BLOCK)
        if stream.peek(len(_BOM)).startswith(_BOM):
            stream.read(len(_BOM))
        return stream

    def _decompressor(self) -> tuple[Callable[[], Any] | None, int]:
        """Return a factory of decompressors, or None, and the bytes to decompress at a time.

        The signature decides, not the name.
        """
        if self.signature.startswith(_GZIP):
            return lambda: zlib.decompressobj(31), _GZIP_PART  # 31: with the header of a gzip file
        if self.signature != _ZSTD:
            return None, 0
        try:
            import zstandard
        except ModuleNotFoundError:
            raise ConfigurationError(
                f"{self.name} is compressed with zstd; the package 'zstandard' is not installed",
                try_=("pip install 'oneoff[zstd]'", "or decompress the file first"),
                code="missing-dependency",
            ) from None
        zstd = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
        return zstd.decompressobj, _ZSTD_PART

    def read_blocks(self, skip: int = 0) -> Iterator[bytes]:
        """Yield the decompressed bytes in blocks. Reading blocks, so call it in a thread.

        Args:
            skip: The number of bytes to leave out at the start.
        """
        stream = self.stream()
        skip_bytes(stream, skip)
        while block := stream.read(BLOCK):
            yield block


@asynccontextmanager
async def open_source(path: str, terminal: Terminal) -> AsyncIterator[Source]:
    """Open the file that an import reads.

    Raises:
        DataError: It does not exist, or can't be read.
    """
    with ExitStack() as stack:
        try:
            file = await in_daemon_thread(lambda: _open(path, terminal, stack))
        except OSError as exc:
            raise _not_read(path, exc) from exc
        yield Source(path, file)


def refuse_missing_file(path: str) -> None:
    """Refuse a file that does not exist, without opening it: a pipe can be read only once.

    Raises:
        DataError: It does not exist.
    """
    try:
        if path != STDIN:
            os.stat(path)
    except OSError as exc:
        raise _not_read(path, exc) from exc


def _not_read(path: str, exc: OSError) -> DataError:
    return bad_file(
        path,
        f"can't be read: {exc.strerror}",
        code="file-not-read",
        try_="give the path of a file that can be read, or - for standard input",
    )


def _open(path: str, terminal: Terminal, stack: ExitStack) -> BinaryIO:
    if path == STDIN:
        return _spooled(terminal.in_bytes, stack)
    # Unbuffered: closing a buffered file waits for the thread that reads it. If no data arrives on
    # a pipe, that would be indefinitely.
    raw = stack.enter_context(open(path, "rb", buffering=0))  # noqa: SIM115 - the stack closes it
    if stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        return io.BufferedReader(raw)
    return _spooled(lambda: raw.read(BLOCK), stack)


def _spooled(read: Callable[[], bytes], stack: ExitStack) -> BinaryIO:
    file = stack.enter_context(tempfile.TemporaryFile(prefix="oneoff-import-"))  # noqa: SIM115
    while block := read():
        file.write(block)
    file.flush()
    return file


async def iterate_in_thread(items: Iterator[T]) -> AsyncIterator[T]:
    """Yield the items of a blocking iterator; each one is produced in a thread."""
    while (item := await in_daemon_thread(lambda: next(items, None))) is not None:
        yield item


def skip_bytes(stream: io.BufferedReader[Any], count: int) -> None:
    """Read bytes and discard them."""
    while count > 0 and (block := stream.read(min(count, BLOCK))):
        count -= len(block)


class _IndependentFile(io.RawIOBase):
    """A file with its own read position, so that several streams don't affect one another."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._offset = descriptor, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # preadv() reads at an offset and leaves the position of the file descriptor unchanged.
        count = os.preadv(self._descriptor, [buffer], self._offset)
        self._offset += count
        return count


class _Decompressed(io.RawIOBase):
    """The content of a compressed file, which may be several compressed files joined together.

    Each of them needs a new decompressor, which starts with the bytes that the last one did not
    use.
    """

    def __init__(
        self, raw: io.BufferedReader[Any], make: Callable[[], Any], part: int, name: str
    ) -> None:
        self._raw, self._make, self._part, self._name = raw, make, part, name
        self._object, self._pending = make(), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._pending:
            data = self._object.unused_data if self._object.eof else b""
            data = data or self._raw.read(self._part)
            if not data:
                if not self._object.eof:
                    raise bad_file(self._name, "is incomplete: its compressed data has no end")
                return 0
            if self._object.eof:
                self._object = self._make()
            self._pending = memoryview(self._decompress(data))
        count = min(len(buffer), len(self._pending))
        buffer[:count], self._pending = self._pending[:count], self._pending[count:]
        return count

    def _decompress(self, data: bytes) -> bytes:
        try:
            return bytes(self._object.decompress(data))
        except Exception as exc:
            if type(exc).__module__ not in ("zlib", "zstd", "zstandard", "zstandard.backend_c"):
                raise
            raise bad_file(self._name, f"can't be decompressed: {exc}") from exc
