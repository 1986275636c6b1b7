"""Bad rows that an import leaves out: a file to be mended and imported, and what is wrong in it.

`bad.csv` holds the rows as they were, below the same header; `bad.csv.errors.jsonl` a JSON object
for each: its line there and in the first file, column, value and error.
"""

from __future__ import annotations

import json
import os
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from oneoff.core.errors import CommandError
from oneoff.services.data.files import Output, open_output
from oneoff.services.data.imports.errors import MOST_SHOWN, Problem, bad_rows

if TYPE_CHECKING:
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.data.imports.readers.base import Reader

ERRORS = ".errors.jsonl"


class Rejects:
    """The bad rows of one import; both files have their names only when the block has ended well.

    Args:
        path: The file; empty where bad rows are not left out.
        reader: Of the file they come from.
        terminal: Of the run.

    Attributes:
        wanted: Whether bad rows are left out.
        count: How many were.
    """

    def __init__(self, path: str, reader: Reader, terminal: Terminal) -> None:
        self._path, self._reader, self._terminal = path, reader, terminal
        self._stack = AsyncExitStack()
        self._files: tuple[Output, Output] | None = None
        self._line = 1
        self.wanted = bool(path)
        self.count = 0
        self.first: list[Problem] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._files is not None and exc is None:
            await self._files[0].write(self._reader.end())
        await self._stack.__aexit__(kind, exc, traceback)

    async def add(self, raw: bytes, problem: Problem) -> None:
        """Take a bad row; where bad rows are not left out, keep the first to be shown.

        Raises:
            CommandError: The files can't be written.
        """
        self.count += 1
        if not self.wanted:
            if len(self.first) < MOST_SHOWN:
                self.first.append(problem)
            return
        rows, told = self._files = self._files or await self._open()
        await rows.write(self._reader.between(self.count - 1) + raw)
        facts = {**problem.facts(), "line": self._line, "original_line": problem.line}
        await told.write(json.dumps(facts, ensure_ascii=False).encode() + b"\n")
        self._line += raw.count(b"\n") + 1

    def raise_first(self) -> None:
        """Raise what is wrong with the first rows, if they are not left out.

        Raises:
            DataError: There are such rows.
        """
        if self.first:
            raise bad_rows(self._reader.source.name, self.first, count=self.count)

    async def _open(self) -> tuple[Output, Output]:
        rows, told = [
            await self._stack.enter_async_context(
                open_output(path, self._terminal, overwrite=False)
            )
            for path in (self._path, self._path + ERRORS)
        ]
        begin = self._reader.begin()
        await rows.write(begin)
        self._line += begin.count(b"\n")
        return rows, told


def check_place(path: str) -> None:
    """Refuse a file of rejects that is there, before anything is read.

    Raises:
        CommandError: It is, or the file beside it.
    """
    for name in (path, path + ERRORS):
        if path and os.path.lexists(name):
            raise CommandError(
                f"{name} is there already",
                why="the rows that are left out would replace what is in it",
                try_="choose another name with --rejects",
                code="file-exists",
            )
