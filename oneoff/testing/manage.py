"""Run command lines inside a test: the real executor, with streams in memory."""

from __future__ import annotations

import codecs
import io
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from oneoff.cli.dispatch import Page, dispatch, presentation
from oneoff.cli.reply import reply
from oneoff.core.outcome import Outcome
from oneoff.core.result import Result
from oneoff.runtime.application import load_application
from oneoff.runtime.error_translation import explain
from oneoff.runtime.executor import Execution
from oneoff.runtime.logs.loggers import Logs, level_of
from oneoff.runtime.terminal import Terminal
from oneoff.utils.redaction import Redactor


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One command line that has run.

    Attributes:
        exit_code: What the process would leave with.
        stdout: All of it.
        stderr: All of it.
        outcome: The executor's own account; None when help or a version answered.
    """

    exit_code: int
    stdout: str
    stderr: str
    outcome: Outcome | None

    @property
    def result(self) -> Result:
        """What the command returned."""
        assert self.outcome is not None, self.stdout  # noqa: S101 - this is a test's helper
        assert self.outcome.result is not None, self.stderr  # noqa: S101
        return self.outcome.result

    @property
    def rows(self) -> int:
        """Rows the command says it changed; 0 when it failed."""
        return self.outcome.rows if self.outcome else 0

    @property
    def json(self) -> Any:
        """Standard output, read as JSON."""
        return json.loads(self.stdout)


class MemoryTerminal(Terminal):
    """A terminal in memory; not one a person sits at, unless answers are given.

    Args:
        stdin: What standard input holds.
        answers: What a person types at each prompt, in order; then comes end of input. None
            means that nobody can be asked, as in a script or a CI job.
    """

    def __init__(self, stdin: str = "", answers: Sequence[str] | None = None) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        super().__init__(None, self.stdout, self.stderr, {})
        self._input = stdin
        self._unread = stdin.encode(errors="surrogateescape")
        # Bytes may come in pieces that end in the middle of a letter.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._answers = list(answers or ())
        self.interactive = answers is not None

    async def ask(self, question: str) -> str | None:
        """Show the question and give the next answer."""
        self.err(question + "\n")
        return self._answers.pop(0) if self._answers else None

    async def ask_secret(self, question: str) -> str | None:
        """Give the next answer, as `ask` does."""
        return await self.ask(question)

    async def read_all(self) -> str:
        """Give what standard input holds."""
        return self._input

    def in_bytes(self) -> bytes:
        """Give all of it, and then nothing."""
        given, self._unread = self._unread, b""
        return given

    def _write_bytes(self, stdout: IO[str], data: bytes) -> None:
        stdout.write(self._decoder.decode(data))


class Manage:
    """Runs command lines of one project; the fixture `manage` is one of these.

    Args:
        project: Import string of the project object.
        root: The project's root folder.
        environ: Variables that are set while a command line runs.
    """

    def __init__(self, project: str, root: str, environ: Mapping[str, str]) -> None:
        self.project, self.root, self.environ = project, root, dict(environ)

    async def __call__(
        self,
        line: str | Sequence[str],
        *,
        stdin: str = "",
        answers: Sequence[str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Finished:
        """Run one command line.

        Args:
            line: What stands after `python manage.py`, as one text or as words.
            stdin: What standard input holds.
            answers: What a person at a terminal types; None for no terminal.
            environ: Variables on top of the fixture's own.
        """
        words = shlex.split(line) if isinstance(line, str) else list(line)
        terminal = MemoryTerminal(stdin, answers)
        with _VARIABLES.set({**self.environ, **(environ or {})}):
            return await self._run(words, terminal)

    async def _run(self, words: Sequence[str], terminal: MemoryTerminal) -> Finished:
        options, outcome = presentation(words), None
        redactor = Redactor(os.environ)
        try:
            app = load_application(self.project, self.root, dict(os.environ))
            found = dispatch(app, words, "python manage.py")
            if isinstance(found, Page):
                terminal.out(found.text)
                return _finished(0, terminal, None)
            options = found.options
            logs = Logs(terminal, redactor, level_of(app.config, options, terminal))
            outcome = await Execution(app, found, terminal, redactor, logs).run()
        except Exception as exc:  # noqa: BLE001 - as oneoff.cli does
            outcome = Outcome(command="", error=explain(exc), cause=exc)
        return _finished(reply(outcome, options, terminal, redactor), terminal, outcome)


class _Variables:
    """Sets variables of the process while command lines run, several at once included.

    Each call restoring what it found would leave the variables of one that overlapped it.
    """

    def __init__(self) -> None:
        self._users = 0
        self._before: dict[str, str] = {}

    @contextmanager
    def set(self, variables: Mapping[str, str]) -> Iterator[None]:
        """Set the variables; the last of the overlapping users restores all."""
        if not self._users:
            self._before = dict(os.environ)
        self._users += 1
        os.environ.update(variables)
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                os.environ.clear()
                os.environ.update(self._before)


_VARIABLES = _Variables()


def _finished(exit_code: int, terminal: MemoryTerminal, outcome: Outcome | None) -> Finished:
    return Finished(
        exit_code=exit_code,
        stdout=terminal.stdout.getvalue(),
        stderr=terminal.stderr.getvalue(),
        outcome=outcome,
    )
