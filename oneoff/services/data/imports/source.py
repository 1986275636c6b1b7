"""A file of rows, read from its beginning as often as need be, decompressed on the way.

Standard input and pipes are put into a temporary file without a name first: they are then checked
before the first write like any other file, and a bad row can be looked up.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from oneoff.core.errors import ConfigurationError
from oneoff.services.data.imports.errors import bad_file
from oneoff.services.data.imports.request import STDIN
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from oneoff.runtime.terminal import Terminal

BLOCK = 1 << 20
"""Bytes that are read, and sent, at a time."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BOM = b"\xef\xbb\xbf"


class Source:
    """One file; `blocks` begins anew each time.

    Args:
        path: As the operator named it; "-" for standard input.
        file: Open, with a position that nobody else moves.

    Attributes:
        path: As the operator named it.
        name: The same for messages.
        size: Bytes on the disk.
    """

    def __init__(self, path: str, file: BinaryIO) -> None:
        self.path, self._file = path, file
        self.name = "standard input" if path == STDIN else path
        self.size = os.fstat(file.fileno()).st_size
        self.started = os.pread(file.fileno(), 4, 0)

    @property
    def seekable(self) -> BinaryIO:
        """The file as it is on the disk, from its beginning: for Parquet."""
        self._file.seek(0)
        return self._file

    def stream(self) -> io.BufferedReader[Any]:
        """Return the decompressed bytes, from the beginning, without a byte order mark."""
        raw: io.RawIOBase = _Region(self._file.fileno())
        make = self._decompressor()
        if make is not None:
            raw = _Decompressed(raw, make, self.name)
        stream: io.BufferedReader[Any] = io.BufferedReader(raw, BLOCK)
        if stream.peek(len(_BOM)).startswith(_BOM):
            stream.read(len(_BOM))
        return stream

    def _decompressor(self) -> Callable[[], Any] | None:
        """Return what makes a decompressor; the first bytes tell, whatever the name says."""
        if self.started.startswith(_GZIP):
            return lambda: zlib.decompressobj(31)
        if self.started != _ZSTD:
            return None
        try:
            import zstandard
        except ModuleNotFoundError:
            raise ConfigurationError(
                f"{self.name} is compressed with zstd; the package 'zstandard' is not installed",
                try_=("pip install 'oneoff[zstd]'", "or decompress it before"),
                code="missing-dependency",
            ) from None
        return lambda: zstandard.ZstdDecompressor().decompressobj()

    async def blocks(self, skip: int = 0) -> AsyncIterator[bytes]:
        """Give the decompressed bytes block by block, read in a thread.

        Args:
            skip: Bytes at the beginning to leave out.
        """
        stream = self.stream()
        await in_daemon_thread(lambda: skip_bytes(stream, skip))
        while block := await in_daemon_thread(lambda: stream.read(BLOCK)):
            yield block

    def read_blocks(self, skip: int = 0) -> Iterator[bytes]:
        """Give the same bytes, read here: for a thread."""
        stream = self.stream()
        skip_bytes(stream, skip)
        while block := stream.read(BLOCK):
            yield block


@asynccontextmanager
async def open_source(path: str, terminal: Terminal) -> AsyncIterator[Source]:
    """Give the file that an import reads.

    Raises:
        DataError: It is not there, or can't be read.
    """
    with ExitStack() as stack:
        try:
            file = await in_daemon_thread(lambda: _open(path, terminal, stack))
        except OSError as exc:
            raise bad_file(
                path,
                f"can't be read: {exc.strerror}",
                code="file-not-read",
                try_="give the path of a file that can be read, or - for standard input",
            ) from exc
        yield Source(path, file)


def _open(path: str, terminal: Terminal, stack: ExitStack) -> BinaryIO:
    if path == STDIN:
        return _spooled(terminal.in_bytes, stack)
    # Without a buffer: closing one waits for whoever reads into it, on a silent pipe for ever.
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


def skip_bytes(stream: io.BufferedReader[Any], count: int) -> None:
    """Read some bytes, and forget them."""
    while count > 0 and (block := stream.read(min(count, BLOCK))):
        count -= len(block)


class _Region(io.RawIOBase):
    """A file read at a position of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._at = descriptor, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count


class _Decompressed(io.RawIOBase):
    """What is in a compressed file, which may be several joined together."""

    def __init__(self, raw: io.RawIOBase, make: Callable[[], Any], name: str) -> None:
        self._raw, self._make, self._name = raw, make, name
        self._object, self._left = make(), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            data = self._object.unused_data if self._object.eof else b""
            data = data or self._raw.read(BLOCK >> 2)
            if not data:
                if not self._object.eof:
                    raise bad_file(self._name, "breaks off: its compressed data has no end")
                return 0
            if self._object.eof:
                self._object = self._make()
            self._left = self._decompress(data)
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    def _decompress(self, data: bytes) -> bytes:
        try:
            return bytes(self._object.decompress(data))
        except Exception as exc:
            if type(exc).__module__ not in ("zlib", "zstandard", "zstandard.backend_c"):
                raise
            raise bad_file(self._name, f"can't be decompressed: {exc}") from exc
