"""Disturb one run, repeat it as its exit code says, and judge what it reports.

A moment is a message to PostgreSQL or Redis. A scheduler
then repeats the command as its exit code says, as Kubernetes does.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from tests.support.moments.launch import Ended, Launcher, Started, Streams
from tests.support.servers import Proxy
from tests.support.servers.proxy import Fate

RETRYABLE = frozenset({69, 75, 130, 143})
DEADLINE = "500ms"
OF_PYTHON = ("Traceback", "Exception ignored", "never retrieved", "never awaited")
"""Texts that only Python writes."""
UNDONE = ("nothing was written", "nothing was changed", "was rolled back")
"""Texts of errors that say that the run left nothing."""
PARTS = ("applied before it", "rolled back before it")
"""Texts that say which revisions are kept, although the last one left nothing."""


class Fault(Enum):
    """What happens at the moment."""

    SIGTERM = "SIGTERM"
    DEADLINE = "--timeout while the server receives nothing"
    LATE_ANSWER = "--timeout while the server answers"
    LOST_MESSAGE = "connections reset before the message"
    LOST_ANSWER = "connections reset before the answer"


_FATES = {
    Fault.SIGTERM: Fate.PASS,
    Fault.DEADLINE: Fate.HOLD,
    Fault.LATE_ANSWER: Fate.HOLD_ANSWER,
    Fault.LOST_MESSAGE: Fate.RESET,
    Fault.LOST_ANSWER: Fate.LOSE_ANSWER,
}
_WITH_DEADLINE = (Fault.DEADLINE, Fault.LATE_ANSWER)


class Manner(NamedTuple):
    """What is wrong during the entire run.

    Attributes:
        streams: What it has as standard output.
        fails_to_close: Whether a resource raises an error when it is closed.
    """

    streams: Streams = Streams.PIPE
    fails_to_close: bool = False

    def __str__(self) -> str:
        """Return it in words."""
        closing = ", a resource can't be closed" if self.fails_to_close else ""
        return f"standard output is {self.streams.value}{closing}"


UNDISTURBED = Manner()
MANNERS = (*(Manner(streams) for streams in Streams), Manner(fails_to_close=True))


class Moment(NamedTuple):
    """A message, counted from one with a mark, because the number of messages before may vary.

    Attributes:
        after: Number of messages after the one with the last mark.
        marks: Texts in messages that come one after the other.
    """

    after: int
    marks: tuple[bytes, ...] = ()


class Record(NamedTuple):
    """The last row of a run of the command.

    Attributes:
        status: Its state; empty if there is no row.
        exit_code: The recorded exit code; None while the row is open.
    """

    status: str = ""
    exit_code: int | None = None


class Repeat(Enum):
    """What a repetition of a disturbed run relies on."""

    ROLLED_BACK = "the work is rolled back"
    CHECKPOINT = "the run saves parts, and continues after them"
    REPEATABLE = "doing the work twice is the same as doing it once"


@dataclass
class Deed:
    """One command, and how to count how often its work was done.

    Attributes:
        words: The command line.
        cwd: Folder with the project.
        environ: Variables with `DATABASE_URL` and `REDIS_URL` of the proxies.
        proxies: The proxies; messages through them are the moments.
        count: Returns how often the work was done; it gets what the run wrote to standard output.
        record: Returns the command's last record.
        prepare: Undoes the work of the last run.
        wait: Brings the time at which a scheduler repeats the command.
        expected: The count if the work was done once.
        repeat: What a repetition relies on.
        manner: What is wrong during the first run.
        saves: Whether a count above 0 means that something was saved, not only shown.
        writes: A text of Python that the command shows on purpose.
    """

    words: Sequence[str]
    cwd: Path
    environ: Mapping[str, str]
    proxies: Sequence[Proxy]
    count: Callable[[str], int]
    record: Callable[[], Record]
    prepare: Callable[[], object]
    wait: Callable[[], object] = lambda: None
    expected: int = 1
    repeat: Repeat = Repeat.ROLLED_BACK
    manner: Manner = UNDISTURBED
    writes: str = ""
    saves: bool = True


@dataclass
class Tally:
    """The number of trials, and what was wrong."""

    tried: int = 0
    twice: int = 0
    wrong: list[str] = field(default_factory=list)


class Bench:
    """Disturbs runs.

    Args:
        launcher: Starts their processes.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    def run(self, deed: Deed, decide: Callable[[bytes], Fate]) -> Ended:
        """Run the command, and decide what happens to its messages."""
        deed.prepare()
        return self._run(deed, decide)

    def messages_of(self, deed: Deed) -> list[bytes]:
        """Run the command undisturbed, and return the messages that it sends."""
        seen: list[bytes] = []

        def listen(message: bytes) -> Fate:
            seen.append(message)
            return Fate.PASS

        ended = self.run(deed, listen)
        assert 0 == ended.code, ended.stderr
        assert deed.expected == deed.count(ended.stdout), (deed.words, ended)
        return seen

    def suffer(self, deed: Deed, fault: Fault, moment: Moment, tally: Tally) -> None:
        """Disturb one message of a run, repeat the run as its exit code says, and judge."""
        deed.prepare()
        self._judge(deed, self._disturbed(deed, moment, fault), f"{fault.value}, {moment}", tally)

    def bear(self, deed: Deed, manner: Manner, tally: Tally) -> None:
        """Let something be wrong during an entire run, and do the same."""
        deed.prepare()
        self._judge(deed, self._run(deed, _pass, manner), str(manner), tally, silent=True)

    def _judge(
        self, deed: Deed, ended: Ended, what: str, tally: Tally, *, silent: bool = False
    ) -> None:
        """Repeat a run as its exit code says, and add what is wrong to the tally.

        Args:
            deed: The command.
            ended: Its disturbed run.
            what: The disturbance in words.
            tally: The counts.
            silent: Whether the run had no way to show its data.
        """
        problem = _problem(deed, ended, silent=silent)
        for _ in range(3):
            if ended.code not in RETRYABLE:
                break
            deed.wait()
            ended = self._run(deed, _pass)
            silent = False
        count = deed.count(ended.stdout)
        tally.tried += 1
        tally.twice += count > deed.expected
        if not problem and count > deed.expected:
            problem = f"after retries the work was done {count} times"
        if not problem and ended.code == 0 and count != deed.expected and not silent:
            problem = f"after retries the exit code is 0, but the count is {count}"
        if not problem and ended.code in RETRYABLE:
            problem = f"retries don't help: {ended.stderr}"
        if problem:
            tally.wrong.append(f"{' '.join(deed.words)}, {what}: {problem}")

    def _disturbed(self, deed: Deed, moment: Moment, fault: Fault) -> Ended:
        marks, after = list(moment.marks), -1 if moment.marks else 0
        process: Started | None = None

        def disturb(message: bytes) -> Fate:
            nonlocal after
            if marks and marks[0] not in message:
                return Fate.PASS
            del marks[:1]
            after += not marks
            if marks or after != moment.after:
                return Fate.PASS
            if fault is Fault.SIGTERM and process is not None:
                process.send_signal(signal.SIGTERM)
            return _FATES[fault]

        with _deciding(deed, disturb):
            words = [*deed.words, *(["--timeout", DEADLINE] if fault in _WITH_DEADLINE else [])]
            process = self._start(deed, words, deed.manner)
            return process.end()

    def _run(
        self, deed: Deed, decide: Callable[[bytes], Fate], manner: Manner = UNDISTURBED
    ) -> Ended:
        with _deciding(deed, decide):
            return self._start(deed, deed.words, manner).end()

    def _start(self, deed: Deed, words: Sequence[str], manner: Manner) -> Started:
        return self._launcher.start(
            words,
            cwd=deed.cwd,
            environ=deed.environ,
            streams=manner.streams,
            fails_to_close=manner.fails_to_close,
        )


def _problem(deed: Deed, ended: Ended, *, silent: bool) -> str:
    """Return what the run reported wrongly."""
    count, (status, recorded) = deed.count(ended.stdout), deed.record()
    done = count == deed.expected or (silent and not ended.code)
    is_closed = status not in {"", "started"}
    in_error = [text for text in OF_PYTHON if text in ended.stderr and text != deed.writes]
    rolls_back = deed.repeat is Repeat.ROLLED_BACK
    retries = ended.code in RETRYABLE
    gives_up = not retries and ended.code and "commit-unknown" not in ended.stderr
    checks = {
        f"Python reports {in_error}": bool(in_error),
        "the process hangs, or was killed": ended.code < 0,
        "success, but the work is not done": ended.code == 0
        and (not done or status in {"failed", "interrupted"}),
        f"the record has exit code {recorded}": is_closed and not silent and recorded != ended.code,
        "work is done, but is reported as undone": bool(deed.saves and count)
        and any(text in ended.stderr for text in UNDONE)
        and not any(text in ended.stderr for text in PARTS),
        "the work is done, and would be repeated": rolls_back and retries and bool(count),
        "the record is wrong": rolls_back
        and is_closed
        and (status == "succeeded") is not bool(count),
        "a retry would help, but the exit code says no": rolls_back and not silent and gives_up,
    }
    facts = f"exit code {ended.code}, status {status!r}, count {count}, stderr: {ended.stderr}"
    return "".join(f"{what}: {facts}" for what, is_wrong in checks.items() if is_wrong)


def _pass(_message: bytes) -> Fate:
    return Fate.PASS


@contextmanager
def _deciding(deed: Deed, decide: Callable[[bytes], Fate]) -> Iterator[None]:
    for proxy in deed.proxies:
        proxy.decide(decide)
    yield
    for proxy in deed.proxies:
        proxy.decide(_pass)
        proxy.heal()
        proxy.cut()  # a message that is held must not arrive later
