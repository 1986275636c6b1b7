"""Disturb a run at one message that it sends, and judge what it reports against what it did.

A moment is a message to PostgreSQL or Redis. A scheduler
then repeats the command as its exit code says, as Kubernetes does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.database import query
from tests.support.redis_project import ask
from tests.support.servers import Proxy, Redis, proxying
from tests.support.servers.proxy import Fate

PROJECT = Path(__file__).parents[1] / "acceptance" / "project"
TICKS = 30
"""Rows of the batch."""
PATIENCE = 60
"""Seconds after which a process counts as hanging."""
RETRYABLE = frozenset({69, 75, 130, 143})
SHORT_GRACE = (
    "import sys, oneoff.runtime.signals as signals; signals.GRACE_SECONDS = 4\n"
    "from oneoff.cli import main\n"
    "sys.argv[0] = 'manage.py'; raise SystemExit(main('app.project:project'))"
)


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


class Moment(NamedTuple):
    """A message, counted from one with a mark, because the number of messages before may vary.

    Attributes:
        after: Number of messages after the one with the last mark.
        marks: Texts in messages that come one after the other.
    """

    after: int
    marks: tuple[bytes, ...] = ()


class Ended(NamedTuple):
    """One process that has ended."""

    code: int
    stderr: str


@dataclass
class Deed:
    """One command, and how to count how often its work was done.

    Attributes:
        words: The command line.
        cwd: Folder with the project.
        environ: Variables with `DATABASE_URL` and maybe `REDIS_URL`, without proxies.
        ports: Ports of the servers by variable; messages to them are the moments.
        count: Returns how often the work was done.
        status: Returns the state of the command's last record.
        prepare: Undoes the work of the last run.
        expected: The count if the work was done once.
        partly: Whether the run saves parts of the work, so that a count in between is right.
        undoable: Whether the work is rolled back or continued when it is disturbed. Otherwise only
            the moments after it count, because such a command must be repeatable.
    """

    words: Sequence[str]
    cwd: Path
    environ: Mapping[str, str]
    ports: Mapping[str, int]
    count: Callable[[], int]
    status: Callable[[], str]
    prepare: Callable[[], object]
    expected: int = 1
    partly: bool = False
    undoable: bool = True


@dataclass
class Tally:
    """The number of moments that were tried, and what was wrong."""

    tried: int = 0
    twice: int = 0
    wrong: list[str] = field(default_factory=list)


def messages_of(deed: Deed) -> list[bytes]:
    """Run the command undisturbed, and return the messages that it sends."""
    seen: list[bytes] = []

    def listen(message: bytes) -> Fate:
        seen.append(message)
        return Fate.PASS

    deed.prepare()
    ended = _run(deed, listen)
    assert 0 == ended.code, ended.stderr
    assert deed.expected == deed.count()
    return seen


def suffer(deed: Deed, moment: Moment, fault: Fault, tally: Tally) -> None:
    """Run the command with a fault at a moment, repeat it as its exit code says, and judge."""
    deed.prepare()
    ended = _disturbed(deed, moment, fault)
    problem = _problem(deed, ended)
    for _ in range(3):
        if ended.code not in RETRYABLE:
            break
        ended = _run(deed, lambda _message: Fate.PASS)
    count = deed.count()
    tally.tried += 1
    tally.twice += count > deed.expected
    if not problem and count > deed.expected:
        problem = f"after retries the work was done {count} times"
    if not problem and ended.code == 0 and count != deed.expected:
        problem = f"after retries the exit code is 0, but the count is {count}"
    if problem:
        command = " ".join(deed.words)
        tally.wrong.append(f"{command}, {fault.value}, {moment}: {problem}")


def _problem(deed: Deed, ended: Ended) -> str:
    """Return what the run reported wrongly."""
    count, status = deed.count(), deed.status()
    facts = f"exit code {ended.code}, status {status!r}, count {count}, stderr: {ended.stderr}"
    if "Traceback" in ended.stderr:
        return f"a traceback: {facts}"
    if ended.code == 0 and (count != deed.expected or status in {"failed", "interrupted"}):
        return f"success, but the work is not done: {facts}"
    if deed.partly:
        return ""
    if ended.code in RETRYABLE and count:
        return f"the work is done, and would be repeated: {facts}"
    if count and "rolled back" in ended.stderr:
        return f"the work is done, but is reported as rolled back: {facts}"
    if (status == "succeeded") is not bool(count) and status not in {"", "started"}:
        return f"the record is wrong: {facts}"
    return ""


def _disturbed(deed: Deed, moment: Moment, fault: Fault) -> Ended:
    marks, after = list(moment.marks), -1 if moment.marks else 0
    process: subprocess.Popen[str] | None = None

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

    with _behind_proxies(deed, disturb) as environ:
        words = [*deed.words, "--timeout", "1s"] if fault in _WITH_DEADLINE else deed.words
        process = start(deed, words, environ)
        return end(process)


def _run(deed: Deed, decide: Callable[[bytes], Fate]) -> Ended:
    with _behind_proxies(deed, decide) as environ:
        return end(start(deed, deed.words, environ))


class _behind_proxies(ExitStack):  # noqa: N801 - used as a function
    def __init__(self, deed: Deed, decide: Callable[[bytes], Fate]) -> None:
        super().__init__()
        self._deed, self._decide = deed, decide

    def __enter__(self) -> dict[str, str]:  # type: ignore[override]
        environ = dict(self._deed.environ)
        for name, port in self._deed.ports.items():
            proxy: Proxy = self.enter_context(proxying(port))
            proxy.decide(self._decide)
            environ[name] = proxy.url(environ[name])
        return environ


def start(deed: Deed, words: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a process of the command."""
    return subprocess.Popen(
        [sys.executable, "-c", SHORT_GRACE, *words],
        cwd=deed.cwd,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> Ended:
    """Wait until a process has ended."""
    _, stderr = process.communicate(timeout=PATIENCE)
    return Ended(process.returncode, stderr)


def deeds(url: str, port: int, redis: Redis, environ: Mapping[str, str]) -> dict[str, Deed]:
    """Return one command of each policy and kind of resource, for the test project.

    Args:
        url: URL of a migrated PostgreSQL database of the test project.
        port: Port of its server.
        redis: A server without other keys.
        environ: Variables for the processes.
    """
    query(url, "CREATE TABLE IF NOT EXISTS deed (id serial PRIMARY KEY)")
    query(url, "CREATE TABLE IF NOT EXISTS tick (id integer PRIMARY KEY, n integer NOT NULL)")
    last = "SELECT status FROM oneoff_runs ORDER BY started_at DESC LIMIT 1"
    environ = {
        **environ,
        "DATABASE_URL": url,
        "REDIS_URL": redis.url,
        "ENVIRONMENT": "test",
        "ASIDE_WHEN": "never",
    }

    def prepare() -> None:
        for table in ("deed", "tick", "oneoff_batches", "oneoff_runs"):
            query(url, f"DELETE FROM {table}")
        query(url, f"INSERT INTO tick SELECT n, 0 FROM generate_series(1, {TICKS}) AS n")
        redis.flush()

    def number(sql: str) -> Callable[[], int]:
        return lambda: int(query(url, sql)[0][0])

    def deed(*words: str, count: Callable[[], int], **more: Any) -> Deed:
        return Deed(
            words=words,
            cwd=PROJECT,
            environ={**environ, "ASIDE_WHEN": more.pop("closing", "never")},
            ports={"DATABASE_URL": port, "REDIS_URL": redis.port},
            count=count,
            status=lambda: "".join(str(row[0]) for row in query(url, last)),
            prepare=prepare,
            **more,
        )

    rows = number("SELECT count(*) FROM deed")
    return {
        "session": deed("deed", "session", count=rows),
        "failing close": deed("deed", "session", count=rows, closing="fail"),
        "unsupported": deed("deed", "unsupported", "--confirm", count=rows),
        "batch": deed(
            *("deed", "batch", "--confirm"),
            count=number("SELECT sum(n) FROM tick"),
            expected=TICKS,
            partly=True,
        ),
        "plan": deed(
            *("deed", "plan"),
            count=lambda: int(ask(redis.url, "GET", "deed") or 0),
            undoable=False,
        ),
    }
