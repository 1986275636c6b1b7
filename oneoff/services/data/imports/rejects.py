"""Write the rejects of an import: the bad rows, and what is wrong with them.

`bad.csv` contains the rows unchanged, below the same header, so that they can be corrected and
imported. `bad.csv.errors.jsonl` contains a JSON object for each row: its line in `bad.csv` and in
the imported file, the column, value and error.
"""

from __future__ import annotations

import json
import os
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from oneoff.core.errors import CommandError
from oneoff.services.data.files import Output, open_output, removed_warning
from oneoff.services.data.imports.errors import MOST_SHOWN, Problem, bad_rows

if TYPE_CHECKING:
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.data.imports.readers.base import Reader

ERRORS_SUFFIX = ".errors.jsonl"


class Rejects:
    """The rejects of one import.

    Both files get their names only if the `async with` block ends without an error.

    Args:
        path: The file for bad rows; empty if a bad row is an error.
        reader: The reader of the imported file.
        terminal: The run's terminal.

    Attributes:
        enabled: Whether bad rows are rejected; otherwise the first one ends the import.
        count: The number of bad rows so far.
        warnings: Messages for the operator.
    """

    def __init__(self, path: str, reader: Reader, terminal: Terminal) -> None:
        self._path, self._reader, self._terminal = path, reader, terminal
        self._stack = AsyncExitStack()
        self._files: tuple[Output, Output] | None = None
        self._line = 1
        self._first_problems: list[Problem] = []
        self.enabled = bool(path)
        self.count = 0
        self.warnings: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After an error the files are deleted, so the footer is not needed.
        if self._files is not None and exc is None:
            await self._files[0].write(self._reader.rejects_footer())
        await self._stack.__aexit__(kind, exc, traceback)

    async def add(self, raw: bytes, problem: Problem) -> None:
        """Write a bad row and its problem. Without `--rejects`, keep the first problems to show.

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
        self._line += raw.count(b"\n") + 1  # a row may have several lines

    def raise_first(self) -> None:
        """Raise an error with the first problems, if `--rejects` was not given.

        Raises:
            DataError: There are bad rows.
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
        self.warnings = removed_warning([*rows.removed, *errors.removed])
        header = self._reader.rejects_header()
        await rows.write(header)
        self._line += header.count(b"\n")
        return rows, errors


def refuse_existing_files(path: str) -> None:
    """Refuse to overwrite existing rejects, before the imported file is read.

    Raises:
        CommandError: The file for bad rows or the file for their errors exists.
    """
    for name in (path, path + ERRORS_SUFFIX):
        if path and os.path.lexists(name):
            raise CommandError(
                f"{name} already exists",
                why="an import does not replace a file of rejects",
                try_="choose another name with --rejects",
                code="file-exists",
            )
