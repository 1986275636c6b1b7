"""Run command lines in a test with the real executor and with streams in memory."""

from __future__ import annotations

import codecs
import io
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import IO, Any

from oneoff.cli.dispatch import Page, dispatch, options_for_error
from oneoff.cli.reply import reply, show_warnings
from oneoff.config.operator_identity import AGENT_VARIABLES
from oneoff.config.settings import PREFIX, SETTINGS
from oneoff.core.outcome import Outcome
from oneoff.core.result import Result
from oneoff.runtime.application import load_application
from oneoff.runtime.error_translation import explain
from oneoff.runtime.executor import Execution
from oneoff.runtime.terminal import Terminal
from oneoff.utils.redaction import Redactor


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The result of one command line.

    Attributes:
        exit_code: The exit code that the process would have.
        stdout: The entire standard output.
        stderr: The entire standard error.
        outcome: The outcome of the run; None if the line printed help or the version.
    """

    exit_code: int
    stdout: str
    stderr: str
    outcome: Outcome | None

    @property
    def result(self) -> Result:
        """The result that the command returned. Fails the test if the run failed."""
        assert self.outcome is not None, self.stdout  # noqa: S101 - used in tests
        assert self.outcome.result is not None, self.stderr  # noqa: S101
        return self.outcome.result

    @property
    def rows(self) -> int:
        """The number of changed rows that the command reports; 0 if it failed."""
        return self.outcome.rows if self.outcome else 0

    @property
    def json(self) -> Any:
        """Standard output, parsed as JSON."""
        return json.loads(self.stdout)


class MemoryTerminal(Terminal):
    """A terminal in memory. It is interactive if answers are given.

    Args:
        stdin: The content of standard input.
        answers: The answers to the prompts, in order; after them comes end of input. None means
            that prompts are impossible, as in a script or a CI job.
    """

    def __init__(self, stdin: str = "", answers: Sequence[str] | None = None) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        super().__init__(None, self.stdout, self.stderr, {})
        self._input = stdin
        self._unread = stdin.encode(errors="surrogateescape")
        # The written bytes may be split in the middle of a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._answers = list(answers or ())
        self.interactive = answers is not None

    async def ask(self, question: str) -> str | None:
        """Write the question to standard error and return the next answer.

        Args:
            question: The text of the prompt.
        """
        self.err(question + "\n")
        return self._answers.pop(0) if self._answers else None

    async def ask_secret(self, question: str) -> str | None:
        """Return the next answer, as `ask` does.

        Args:
            question: The text of the prompt.
        """
        return await self.ask(question)

    async def read_all(self) -> str:
        """Return standard input as text."""
        return self._input

    def in_bytes(self) -> bytes:
        """Return standard input as bytes; a second call returns none."""
        given, self._unread = self._unread, b""
        return given

    def _write_bytes(self, stdout: IO[str], data: bytes) -> None:
        stdout.write(self._decoder.decode(data))


class Manage:
    """Runs command lines of one project. The fixture `manage` is an instance.

    Args:
        project: Import string of the project object.
        root: The project's root folder.
        environ: Environment variables that are set while a command line runs.
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
            line: The words after `python manage.py`, as one text or as a sequence.
            stdin: The content of standard input.
            answers: The answers of a person at a terminal; None for no terminal.
            environ: Environment variables in addition to those of the fixture.
        """
        words = shlex.split(line) if isinstance(line, str) else list(line)
        terminal = MemoryTerminal(stdin, answers)
        # A prefixed variable of the developer, or of `.env`, would come before those of the test.
        hidden = {f"{PREFIX}{name}": "" for name in (one.name for one in SETTINGS)}
        with _VARIABLES.set({**hidden, **self.environ, **(environ or {})}):
            return await self._run(words, terminal)

    async def _run(self, words: Sequence[str], terminal: MemoryTerminal) -> Finished:
        options, outcome = options_for_error(words), None
        redactor = Redactor(os.environ)
        try:
            app = load_application(self.project, self.root, dict(os.environ))
            # A test works on the databases that it is given, never on those of the application.
            app.project = copy(app.project)
            app.project.database_url = app.project.redis_url = ""
            found = dispatch(app, words, terminal.program)
            if isinstance(found, Page):
                terminal.out(found.text)
                show_warnings(found.warnings, options, terminal, redactor)
                return _finished(0, terminal, None)
            options = found.options
            outcome = await Execution(app, found, terminal, redactor).run()
        except Exception as exc:  # noqa: BLE001 - reported as oneoff.cli does
            outcome = Outcome(command="", error=explain(exc), cause=exc)
        return _finished(reply(outcome, options, terminal, redactor), terminal, outcome)


class _Variables:
    """Sets environment variables while command lines run, also several at the same time.

    If each call restored what it found, a variable of an overlapping call would stay set.
    """

    def __init__(self) -> None:
        self._users = 0
        self._before: dict[str, str] = {}

    @contextmanager
    def set(self, variables: Mapping[str, str]) -> Iterator[None]:
        """Set the variables inside the block. The last of overlapping blocks restores them all."""
        if not self._users:
            self._before = dict(os.environ)
            # A test must not depend on who starts it.
            for name in AGENT_VARIABLES:
                os.environ.pop(name, None)
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
