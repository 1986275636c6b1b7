"""Count different things among more than fit into memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO, Self

PARTS = 256
IN_MEMORY = 2_000_000
"""Things remembered in memory, in 8 bytes each; more go into a temporary file."""


class DistinctCounter:
    """Counts each thing once, however often it is added.

    It keeps the hash of each, of 64 bits: of a hundred million things, one chance in 3,600 that
    two are taken for one. Hashes are shared out by their last byte, so that one part at a time is
    looked through at the end.
    """

    def __init__(self) -> None:
        self._parts = [array("q") for _ in range(PARTS)]
        self._in_memory = 0
        self._file: IO[bytes] | None = None
        self._closing = ExitStack()
        self._written: list[list[tuple[int, int]]] = [[] for _ in range(PARTS)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def add(self, things: Iterable[bytes]) -> None:
        """Add things, which may have been added before."""
        before = self._in_memory
        for thing in things:
            number = hash(thing)
            self._parts[number % PARTS].append(number)
            self._in_memory += 1
        if self._in_memory > max(before, IN_MEMORY):
            self._write()

    def count(self) -> int:
        """Return how many different things were added."""
        return sum(len(self._numbers(part)) for part in range(PARTS))

    def _numbers(self, part: int) -> set[int]:
        found = set(self._parts[part])
        for place, size in self._written[part]:
            numbers = array("q")
            assert self._file is not None  # noqa: S101 - there are places in it
            self._file.seek(place)
            numbers.frombytes(self._file.read(size))
            found.update(numbers)
        return found

    def _write(self) -> None:
        """Move all that is in memory to the end of the file."""
        if self._file is None:
            self._file = self._closing.enter_context(TemporaryFile())  # noqa: SIM115
        place = self._file.seek(0, 2)
        for part, numbers in enumerate(self._parts):
            size = self._file.write(numbers.tobytes())
            self._written[part].append((place, size))
            place += size
        self._parts = [array("q") for _ in range(PARTS)]
        self._in_memory = 0
