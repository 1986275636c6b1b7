"""Write an export to standard output, or to a file that appears only when it is complete.

Bytes are collected in blocks. A thread compresses and writes one block while the next one fills.
So a slow disk or pipe does not block the event loop, and the database only for a short time.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import zlib
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from oneoff.core.errors import CommandError, ConfigurationError
from oneoff.services.data.partial_files import PartialFile, create_partial
from oneoff.utils.concurrency import in_daemon_thread
from oneoff.utils.files import file_advice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence

    from oneoff.runtime.terminal import Terminal

Format = Literal["csv", "jsonl", "json", "sql", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)

BLOCK = 1 << 20
"""Bytes that are compressed and written at a time."""
GZIP_LEVEL = 1
"""Level 1 is as fast as the database; level 6 takes 2.5 times as long."""
ZSTD_LEVEL = 3

STDOUT = "-"


class ReaderClosed(Exception):
    """The reader of standard output closed it (`| head`); not an error."""


class Sink(Protocol):
    """The destination of an export's bytes."""

    async def write(self, data: bytes) -> None:
        """Write bytes; they may be buffered.

        Raises:
            ReaderClosed: The reader has closed the output.
        """


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Output:
    """A `Sink` that compresses, counts, and writes in a thread.

    Attributes:
        size: Bytes written so far, after compression.
        complete: False if the reader closed the output before the end.
        removed: The names of incomplete files that killed runs had left for the same path.
    """

    def __init__(
        self, path: str, write_out: Callable[[bytes], None], compressor: _Compressor | None
    ) -> None:
        self._path, self._write_out, self._compressor = path, write_out, compressor
        self._parts: list[bytes] = []
        self._waiting = 0
        self._writing: asyncio.Future[None] | None = None
        self._in_thread = threading.Lock()  # held while a thread writes
        self.size = 0
        self.complete = True
        self.removed: tuple[str, ...] = ()

    async def write(self, data: bytes) -> None:
        """Buffer bytes. Wait only if a block is full while another one is still being written."""
        self._parts.append(data)
        self._waiting += len(data)
        if self._waiting >= BLOCK:
            await self._start_block()

    async def finish(self) -> None:
        """Write the last block and the end of the compressed data."""
        await self._start_block()
        await self.settle()
        if self._compressor is not None:
            end = self._compressor.flush()
            await self._write_in_thread(lambda: self._write(end))

    async def settle(self) -> None:
        """Wait for the block that is being written."""
        if self._writing is None:
            return
        try:
            # A cancellation does not stop the thread.
            await asyncio.shield(self._writing)
        finally:
            if self._writing.done():
                self._writing = None

    def close(self, descriptor: int) -> None:
        """Close a descriptor, after a thread that still writes to it has ended.

        Closing makes the number free for the next file that is opened, and the rest of the block
        would be written into that file. This does not wait: a pipe that nobody reads blocks the
        thread.
        """

        def close() -> None:
            with self._in_thread:
                os.close(descriptor)

        if self._in_thread.locked():
            threading.Thread(target=close, daemon=True, name="oneoff-closing").start()
        else:
            close()

    async def _start_block(self) -> None:
        # One block at a time: the compressor and the file need the bytes in their order.
        await self.settle()
        parts, self._parts, self._waiting = self._parts, [], 0
        self._writing = asyncio.ensure_future(
            self._write_in_thread(lambda: self._write_parts(parts))
        )

    def _write_in_thread(self, write: Callable[[], None]) -> Coroutine[Any, Any, None]:
        self._in_thread.acquire()

        def locked() -> None:
            try:
                write()
            finally:
                self._in_thread.release()

        return in_daemon_thread(locked)

    def _write_parts(self, parts: Sequence[bytes]) -> None:
        # One part at a time: joining the parts would copy all bytes once more.
        for part in parts:
            self._write(self._compressor.compress(part) if self._compressor else part)

    def _write(self, data: bytes) -> None:
        with _file_errors(self._path):
            self._write_out(data)
        self.size += len(data)


def format_of(path: str) -> Format | None:
    """Return the format that a file's suffix names; the suffix of a compressed file is ignored."""
    suffix = suffix_of(path)
    return next((known for known in FORMATS if known == suffix), None)


def suffix_of(path: str) -> str:
    """Return the suffix of a file's name without its dot; a suffix of a compression is ignored."""
    name = os.path.basename(path).removesuffix(".gz").removesuffix(".zst")
    return name.rpartition(".")[2].lower() if "." in name.lstrip(".") else ""


@asynccontextmanager
async def open_output(path: str, terminal: Terminal, *, overwrite: bool) -> AsyncIterator[Output]:
    """Open a file or standard output for writing.

    A file gets its name only if the `async with` block ends without an error.

    Args:
        path: The file, or "-" for standard output. `.gz` and `.zst` compress it.
        terminal: The run's terminal, for standard output.
        overwrite: Whether an existing file may be replaced.

    Raises:
        CommandError: The file already exists, or can't be written.
        ConfigurationError: The suffix needs a package that is not installed.
    """
    compressor = _compressor(path)
    if path == STDOUT:
        output = Output("standard output", lambda data: _to_terminal(terminal, data), compressor)
        try:
            yield output
            await output.finish()
        except ReaderClosed:
            output.complete = False
    elif _is_special(path):
        async with _open_device(path, compressor) as output:
            yield output
    else:
        async with _open_atomic_file(path, compressor, overwrite=overwrite) as output:
            yield output


@asynccontextmanager
async def _open_device(path: str, compressor: _Compressor | None) -> AsyncIterator[Output]:
    """Open a device or a named pipe. It is written directly, as no file can replace it."""
    with _file_errors(path):
        descriptor = await in_daemon_thread(lambda: os.open(path, os.O_WRONLY))
    output = Output(path, lambda data: _write_all(descriptor, data), compressor)
    try:
        yield output
        await output.finish()
    finally:
        output.close(descriptor)


@asynccontextmanager
async def atomic_file(path: str, *, overwrite: bool) -> AsyncIterator[PartialFile]:
    """Create a file that gets its name only if the `async with` block ends without an error.

    Raises:
        CommandError: The file already exists, or can't be written.
    """
    place, partial = _open_partial(path, overwrite=overwrite)
    try:
        yield partial
        with _file_errors(path):
            # First the content, then the name: after a power failure the name never refers to an
            # incomplete file.
            await in_daemon_thread(lambda: os.fsync(partial.descriptor))
            _rename(partial.path, place, overwrite=overwrite)
    finally:
        os.close(partial.descriptor)
        with suppress(FileNotFoundError):
            os.unlink(partial.path)


@asynccontextmanager
async def _open_atomic_file(
    path: str, compressor: _Compressor | None, *, overwrite: bool
) -> AsyncIterator[Output]:
    async with atomic_file(path, overwrite=overwrite) as partial:
        descriptor = os.dup(partial.descriptor)
        output = Output(path, lambda data: _write_through(descriptor, data), compressor)
        output.removed = partial.removed
        try:
            yield output
            await output.finish()
        finally:
            output.close(descriptor)


def _open_partial(path: str, *, overwrite: bool) -> tuple[str, PartialFile]:
    """Return the real path of the target, and a new file beside it.

    Only its owner can read it. If it replaces a file, it gets the mode of that file.
    """
    if not overwrite and os.path.lexists(path):
        raise _file_exists(path)
    # Through a symbolic link, the file is replaced and not the link. The partial file is in the
    # same folder, because a rename works only within one file system.
    place = os.path.realpath(path)
    with _file_errors(path):
        partial = create_partial(place)
        with suppress(FileNotFoundError):
            os.fchmod(partial.descriptor, stat.S_IMODE(os.stat(place).st_mode))
    return place, partial


def _rename(partial: str, path: str, *, overwrite: bool) -> None:
    """Give the complete file its name, and flush the folder so that a power failure keeps it."""
    if overwrite:
        os.replace(partial, path)
    else:
        try:
            # Unlike rename(), link() fails if another process has created the file meanwhile.
            os.link(partial, path)
        except FileExistsError:
            raise _file_exists(path) from None
        except OSError:  # a file system without hard links
            os.replace(partial, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _compressor(path: str) -> _Compressor | None:
    if path.endswith(".gz"):
        # 31: with a gzip header, but without name and time in it. The same rows give the same file.
        return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    if not path.endswith(".zst"):
        return None
    try:
        import zstandard
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"{path} needs zstd compression, but the package 'zstandard' is not installed",
            try_=("pip install 'oneoff[zstd]'", "or choose a name that ends in .gz"),
            code="missing-dependency",
        ) from None
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()


def _to_terminal(terminal: Terminal, data: bytes) -> None:
    if not terminal.out_bytes(data):
        raise ReaderClosed


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _write_through(descriptor: int, data: bytes) -> None:
    """Write bytes, and start writing them to the disk at once.

    Otherwise all of them would wait for the fsync at the end.
    """
    _write_all(descriptor, data)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _is_special(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path)
    except FileNotFoundError:
        return False


@contextmanager
def _file_errors(path: str) -> Iterator[None]:
    """Turn an error of the file system into one that names the file."""
    try:
        yield
    except OSError as exc:
        raise CommandError(
            f"{path} can't be written: {exc.strerror}",
            why="no partial file was kept",
            try_=f"{file_advice(exc)}, or choose another path",
            code="file-not-written",
        ) from exc


def removed_warning(removed: Sequence[str]) -> list[str]:
    """Return the warning that files of killed runs were removed."""
    what = "an incomplete file of a run that was killed"
    return [f"removed {what}: {name}" for name in removed]


def _file_exists(path: str) -> CommandError:
    return CommandError(
        f"{path} already exists",
        why="a file is not replaced without --overwrite",
        try_=("choose another name with -o", "or give --overwrite"),
        code="file-exists",
    )
