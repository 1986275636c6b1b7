"""Write the rejects of an import: the bad rows, to be corrected and imported, and their errors.

`bad.csv` holds the rows as they were, below the same header. `bad.csv.errors.jsonl` holds a JSON
object for each: its line in `bad.csv` and in the imported file, column, value and error.
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

ERRORS_SUFFIX = ".errors.jsonl"


class Rejects:
    """The rejects of one import; both files get their names only if the block ends without error.

    Args:
        path: The file; empty if a bad row is an error.
        reader: Of the file that is imported.
        terminal: Of the run.

    Attributes:
        enabled: Whether bad rows are rejected; else one ends the import.
        count: Bad rows so far.
    """

    def __init__(self, path: str, reader: Reader, terminal: Terminal) -> None:
        self._path, self._reader, self._terminal = path, reader, terminal
        self._stack = AsyncExitStack()
        self._files: tuple[Output, Output] | None = None
        self._line = 1
        self._first_problems: list[Problem] = []
        self.enabled = bool(path)
        self.count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._files is not None and exc is None:
            await self._files[0].write(self._reader.rejects_footer())
        await self._stack.__aexit__(kind, exc, traceback)

    async def add(self, raw: bytes, problem: Problem) -> None:
        """Write a bad row and its problem; if bad rows are errors, keep the first ones to show.

        Raises:
            CommandError: The files can't be written.
        """
        self.count += 1
        if not self.enabled:
            if len(self._first_problems) < MOST_SHOWN:
                self._first_problems.append(problem)
            return
        rows, errors = self._files = self._files or await self._open()
        await rows.write((self._reader.rejects_separator() if self.count > 1 else b"") + raw)
        facts = {**problem.facts(), "line": self._line, "original_line": problem.line}
        await errors.write(json.dumps(facts, ensure_ascii=False).encode() + b"\n")
        self._line += raw.count(b"\n") + 1

    def raise_first(self) -> None:
        """Raise what is wrong with the first rows, if bad rows are errors.

        Raises:
            DataError: There are such rows.
        """
        if self._first_problems:
            raise bad_rows(self._reader.source.name, self._first_problems, count=self.count)

    async def _open(self) -> tuple[Output, Output]:
        rows, errors = [
            await self._stack.enter_async_context(
                open_output(path, self._terminal, overwrite=False)
            )
            for path in (self._path, self._path + ERRORS_SUFFIX)
        ]
        header = self._reader.rejects_header()
        await rows.write(header)
        self._line += header.count(b"\n")
        return rows, errors


def refuse_existing_files(path: str) -> None:
    """Refuse the path of an existing file for rejects, before anything is read.

    Raises:
        CommandError: The file exists, or the one for its errors.
    """
    for name in (path, path + ERRORS_SUFFIX):
        if path and os.path.lexists(name):
            raise CommandError(
                f"{name} is there already",
                why="the rows that are left out would replace what is in it",
                try_="choose another name with --rejects",
                code="file-exists",
            )
