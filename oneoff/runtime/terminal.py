"""Read and write the three standard streams, and prompt the operator; no other module does.

Data goes to standard output; prompts, warnings and errors go to standard error. There are no
prompts without a terminal or in CI.
"""

from __future__ import annotations

import codecs
import os
import sys
from io import TextIOWrapper

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

PROGRAM = "python manage.py"
"""How all texts of oneoff name the program. A terminal shows how it was really started."""

_ERASE = "\r\x1b[K"  # moves the cursor to the start of the line, and erases the line


class Terminal:
    """Standard input, output and error of one run.

    Attributes:
        interactive: Whether the operator can be asked: standard input and standard error are
            terminals, and the process does not run in CI.
        color: Whether to colour standard error.
        width: Columns of standard output; 0 if it is not a terminal: then tables are not cut.
        is_watched: Whether standard error is a terminal, so that the operator reads the result.
        in_ci: Whether the process runs in CI, whose pages show standard error.
        shows_status: Whether standard error is a terminal that can erase a line.
        output_lost: Whether standard output is closed, or failed to take a text (a full disk).
        program: How the operator started the process: "admin", or "python manage.py".
        has_data: Whether standard output holds a command's own data. If so, everything else goes to
            standard error.
    """

    def __init__(
        self,
        stdin: IO[str] | None,
        stdout: IO[str] | None,
        stderr: IO[str] | None,
        environ: Mapping[str, str],
    ) -> None:
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        stderr_is_terminal = _is_terminal(stderr)
        self.in_ci = _says_yes(environ.get("CI", ""))
        self.interactive = _is_terminal(stdin) and stderr_is_terminal and not self.in_ci
        self.shows_status = stderr_is_terminal and environ.get("TERM") != "dumb"
        self.color = self.shows_status and not environ.get("NO_COLOR")
        self.is_watched = stderr_is_terminal
        self.width = _columns(stdout, environ)
        self._status_width = _columns(stderr, environ)
        self._status = ""
        self.output_lost = False
        self.program = PROGRAM
        self.has_data = False
        self._reader_gone = False
        self._warned: set[str] = set()

    @classmethod
    def of_process(cls, environ: Mapping[str, str] | None = None) -> Terminal:
        r"""Return the terminal of this process's own streams.

        From then on the streams write a character that their encoding does not have as `\uXXXX`,
        which is valid in JSON too. An error there would fail a run whose work is committed.
        """
        codecs.register_error("oneoff", _escape)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # else somebody has replaced it
                stream.reconfigure(errors="oneoff")
        return cls(sys.stdin, sys.stdout, sys.stderr, os.environ if environ is None else environ)

    def out(self, text: str) -> None:
        """Write to standard output. If its reader has closed it (`| head`), that is no error."""
        if self._reader_gone or self.output_lost or not text:
            return
        if self._stdout is None:
            self.output_lost = True
            return
        try:
            self._stdout.write(text)
            self._stdout.flush()
        except OSError as exc:
            self._stop_output(self._stdout, exc)

    def out_bytes(self, data: bytes) -> bool:
        """Write a command's own data to standard output; return whether to write more.

        It blocks while the reader is slow, so call it from a thread. After the first call, all
        other output of the run goes to standard error.
        """
        if not self.has_data:
            self.status("")
            self.has_data = True
        if self._reader_gone:
            return False
        if self._stdout is None or self.output_lost:
            self.output_lost = True
            return False
        try:
            self._write_bytes(self._stdout, data)
        except OSError as exc:
            self._stop_output(self._stdout, exc)
            return False
        return True

    def _stop_output(self, stdout: IO[str], exc: OSError) -> None:
        self._reader_gone = isinstance(exc, BrokenPipeError)
        self.output_lost = not self._reader_gone
        _discard(stdout)

    def _write_bytes(self, stdout: IO[str], data: bytes) -> None:
        stdout.buffer.write(data)  # type: ignore[attr-defined]  # a process's stream is a TextIO
        stdout.flush()

    def status(self, text: str) -> None:
        """Show a transient status line; the next write to standard error replaces it.

        Args:
            text: The line without a line end; it is cut to the width of the terminal. An empty text
                erases the status line.
        """
        if not self.shows_status or (self.has_data and self.width):
            return  # the rows of data are on the same screen
        # `_ERASE` erases one line only, so the text must not wrap.
        text = text[: max(self._status_width - 1, 0)]
        if text != self._status:
            self.err(text)
            self._status = text

    def err(self, text: str) -> None:
        """Write to standard error."""
        if self._stderr is None:
            return
        text = self.as_started(text)
        if self._status:
            text, self._status = _ERASE + text, ""
        try:
            self._stderr.write(text)
            self._stderr.flush()
        except OSError:
            # The reader has closed the stream. The interpreter flushes it at exit, and an error
            # there would change the exit code.
            _discard(self._stderr)

    def as_started(self, text: str) -> str:
        """Return a text in which command lines begin as the operator's own did."""
        return text.replace(PROGRAM, self.program)

    def warn_once(self, warning: str) -> None:
        """Write a warning to standard error immediately, but each text only once."""
        if warning not in self._warned:
            self._warned.add(warning)
            self.err(f"warning: {warning}\n")

    async def ask(self, question: str) -> str | None:
        """Ask the operator for one line; return None at the end of input."""
        line = b""
        try:
            line = await self._ask(question)
        finally:
            # After Ctrl-C or Ctrl-D the cursor is still behind the question.
            if not line.endswith(b"\n"):
                self.err("\n")
        return _answer(line)

    async def _ask(self, question: str) -> bytes:
        from oneoff.utils.concurrency import in_daemon_thread

        self.err(question)
        return await in_daemon_thread(lambda: os.read(self._input_fd(), 4096))

    async def ask_secret(self, question: str) -> str | None:
        """Ask for one line, and don't show it while it is typed."""
        import termios

        fd = self._input_fd()
        shown = termios.tcgetattr(fd)
        hidden = [*shown]
        hidden[3] &= ~termios.ECHO
        termios.tcsetattr(fd, termios.TCSAFLUSH, hidden)
        try:
            return _answer(await self._ask(question))
        finally:
            termios.tcsetattr(fd, termios.TCSADRAIN, shown)
            self.err("\n")

    async def read_all(self) -> str:
        """Read standard input to its end."""
        from oneoff.utils.concurrency import in_daemon_thread

        def read() -> bytes:
            chunks = iter(lambda: os.read(self._input_fd(), 65_536), b"")
            return b"".join(chunks)

        return (await in_daemon_thread(read)).decode()

    def in_bytes(self) -> bytes:
        """Return some bytes of standard input, none at its end; blocks, so use a thread."""
        return os.read(self._input_fd(), 1 << 20)

    def _input_fd(self) -> int:
        """Return the raw descriptor of standard input.

        It is read without Python's buffered reader. A thread that blocks in that reader holds its
        lock, and the interpreter waits for the lock at exit.
        """
        if self._stdin is None:
            return os.open(os.devnull, os.O_RDONLY)
        return self._stdin.fileno()


def _answer(line: bytes) -> str | None:
    return line.decode(errors="replace").rstrip("\r\n") if line else None


def _discard(stream: IO[str]) -> None:
    """Redirect a broken stream to /dev/null, because the interpreter's flush at exit would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


def _is_terminal(stream: IO[str] | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _says_yes(text: str) -> bool:
    return text.lower() not in {"", "0", "false", "no"}


def _columns(stream: IO[str] | None, environ: Mapping[str, str]) -> int:
    if stream is None or not _is_terminal(stream):
        return 0
    if environ.get("COLUMNS", "").isdigit():
        return int(environ["COLUMNS"])
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 80
