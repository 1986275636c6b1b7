"""One job as Redis has it, read from its pickle; any field may be missing or of a wrong type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from oneoff.services.jobs.pickles import display, reader
from oneoff.services.jobs.pickles.reader import UnreadableError
from oneoff.services.jobs.worker_settings import Deserializer


class JobStatus(StrEnum):
    """The state of a job, in the order of the columns of `jobs stats`."""

    RUNNING = "running"
    """A worker has it."""
    QUEUED = "queued"
    """It is due, and waits for a worker."""
    DEFERRED = "deferred"
    """It is not due yet."""
    EXPIRED = "expired"
    """It is in the queue, but its pickle has expired: no worker came in time."""
    COMPLETED = "completed"
    FAILED = "failed"
    """It raised, ran out of tries, or was aborted."""
    UNREADABLE = "unreadable"
    """It has ended, but its result can't be read."""


class Ending(NamedTuple):
    """How and when a job ended.

    Attributes:
        status: COMPLETED, FAILED or UNREADABLE.
        finished_ms: 0 where it can't be read.
    """

    status: JobStatus
    finished_ms: int


_LONGEST_NAME = 200  # of a function, a queue, an id
_LONGEST_PROBLEM = 200
_LARGEST_NUMBER = 2**53 - 1  # what every reader of JSON can hold
_NUMBER_BYTES = 6  # of a time in milliseconds, until the year 6429
_COUNT = re.compile(rb"[0-9]{1,15}")
_TRUE = b"\x88"
# ARQ's dicts as CPython pickles them with protocol 4 or 5: `t` and `f` come first, `s` before the
# result, `ft` after it. See `function_of`.
_FUNCTION = re.compile(
    rb"\x80[\x04\x05](?:\x95.{8})?\}\x94\(\x8c\x01t\x94(?:N|K.)\x8c\x01f\x94\x8c(.)", re.DOTALL
)
_SUCCESS = re.compile(
    rb"\x8c\x02et\x94\x8a\x06.{6}\x8c\x01s\x94([\x88\x89])\x8c\x01r\x94", re.DOTALL
)
_FINISHED = b"\x8c\x02ft\x94\x8a\x06"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job.

    Attributes:
        id: ARQ's.
        status: Where it is.
        function: Empty where it can't be read; `problem` says why then.
        args: Positional arguments; objects in them are not made, see `pickles.reader.Opaque`.
        kwargs: Arguments by name.
        queue: Key of the queue it is or was in.
        enqueued: When it was queued.
        due: When it may start; of jobs in the queue only.
        tries: How often it has been started.
        started: When its last try began; of jobs that have ended.
        finished: When it ended.
        result: What it returned, or the exception it ended with.
        problem: Why it can't be read.
    """

    id: str
    status: JobStatus
    queue: str
    function: str = ""
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    enqueued: datetime | None = None
    due: datetime | None = None
    tries: int = 0
    started: datetime | None = None
    finished: datetime | None = None
    result: Any = None
    problem: str = ""

    @property
    def aborted(self) -> bool:
        """Whether somebody stopped it."""
        result = self.result
        # A pickle is read as an Opaque; a serializer of the application's returns the exception.
        name = result.name if isinstance(result, reader.Opaque) else type(result).__qualname__
        return self.status is JobStatus.FAILED and name.endswith("CancelledError")

    @property
    def error(self) -> str:
        """Why it failed, or why it can't be read; empty otherwise."""
        if self.problem or self.status is not JobStatus.FAILED:
            return self.problem
        if self.aborted:
            return "aborted"
        return display.text(self.result, 200)

    @property
    def seconds(self) -> float | None:
        """How long its last try took."""
        if self.started is None or self.finished is None:
            return None
        return round((self.finished - self.started).total_seconds(), 3)

    def row(self) -> dict[str, Any]:
        """Return the job as a row of `jobs list`."""
        return {
            "id": display.cut(self.id, _LONGEST_NAME),
            "status": self.status.value,
            "function": self.function,
            "arguments": display.call_text(self.args, self.kwargs),
            "enqueued": self.enqueued,
            "due": self.due,
            "tries": self.tries,
            "seconds": self.seconds,
            "error": self.error or None,
        }

    def details(self) -> dict[str, Any]:
        """Return everything that is known about the job, as `jobs show` prints it."""
        return {
            **self.row(),
            "arguments": {
                "args": display.plain(list(self.args)),
                "kwargs": display.plain(dict(self.kwargs)),
            },
            "queue": self.queue,
            "started": self.started,
            "finished": self.finished,
            "result": None if self.error else display.plain(self.result),
            "error": display.text(self.result, 2_000) if self._raised else self.error or None,
        }

    @property
    def _raised(self) -> bool:
        return self.status is JobStatus.FAILED and not self.problem and not self.aborted


def load(raw: bytes, deserializer: Deserializer | None) -> dict[str, Any]:
    """Read a job or a result.

    Args:
        raw: As it is in Redis.
        deserializer: The application's own, or None for pickle, of which nothing is run.

    Raises:
        UnreadableError: It can't be read, or is none of ARQ's.
    """
    if deserializer is None:
        found = reader.read(raw).value
    else:
        try:
            found = deserializer(raw)
        except Exception as exc:
            problem = display.text(exc, _LONGEST_PROBLEM)
            raise UnreadableError(f"the worker's job_deserializer: {problem}") from exc
    if not isinstance(found, dict) or not isinstance(found.get("f"), str):
        raise UnreadableError("no job of ARQ's")
    return found


def queued_record(
    job_id: str,
    raw: bytes | None,
    deserializer: Deserializer | None,
    *,
    status: JobStatus,
    queue: str,
    due_ms: float,
    tries: int,
) -> JobRecord:
    """Return the record of a job that is in the queue."""
    facts: dict[str, Any] = {"id": job_id, "status": status, "queue": queue, "tries": tries}
    facts["due"] = moment(due_ms)
    if raw is None:
        return JobRecord(**facts)
    try:
        return JobRecord(**facts, **_call_fields(load(raw, deserializer)))
    except UnreadableError as exc:
        return JobRecord(**facts, problem=_problem(exc))


def ended_record(
    job_id: str, raw: bytes, deserializer: Deserializer | None, queue: str
) -> JobRecord:
    """Return the record of a job that has ended."""
    try:
        found = load(raw, deserializer)
    except UnreadableError as exc:
        unreadable = JobStatus.UNREADABLE
        return JobRecord(id=job_id, status=unreadable, queue=queue, problem=_problem(exc))
    status = JobStatus.COMPLETED if found.get("s") is True else JobStatus.FAILED
    named = found.get("q")
    return JobRecord(
        id=job_id,
        status=status,
        queue=display.cut(named, _LONGEST_NAME) if isinstance(named, str) else queue,
        tries=_whole_number(found.get("t")),
        started=moment(found.get("st")),
        finished=moment(found.get("ft")),
        result=found.get("r"),
        **_call_fields(found),
    )


def function_of(raw: bytes, deserializer: Deserializer | None) -> str:
    """Return the function of a job or a result; empty where it can't be read.

    In the bytes that CPython writes for ARQ's dict, its place is known: looking there is 30 times
    faster than reading the pickle. Other pickles are read.
    """
    if deserializer is None and (found := _FUNCTION.match(raw)):
        begin = found.end()
        return raw[begin : begin + found[1][0]].decode(errors="replace")
    try:
        return display.cut(load(raw, deserializer)["f"], _LONGEST_NAME)
    except UnreadableError:
        return ""


def ending_of(raw: bytes, deserializer: Deserializer | None) -> Ending:
    """Return how a job ended; found as in `function_of`.

    The time is searched from the end: an argument or a result could contain the same bytes.
    """
    if deserializer is None and _FUNCTION.match(raw):
        success, at = _SUCCESS.search(raw), raw.rfind(_FINISHED)
        if success and at > 0:
            begin = at + len(_FINISHED)
            finished = int.from_bytes(raw[begin : begin + _NUMBER_BYTES], "little")
            return Ending(
                JobStatus.COMPLETED if success[1] == _TRUE else JobStatus.FAILED, finished
            )
    try:
        found = load(raw, deserializer)
    except UnreadableError:
        return Ending(JobStatus.UNREADABLE, 0)
    status = JobStatus.COMPLETED if found.get("s") is True else JobStatus.FAILED
    return Ending(status, _whole_number(found.get("ft")))


def moment(milliseconds: Any) -> datetime | None:
    """Return a time in milliseconds as a datetime; None for what is no time."""
    if not isinstance(milliseconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _call_fields(found: Mapping[str, Any]) -> dict[str, Any]:
    args, kwargs = found.get("a"), found.get("k")
    return {
        "function": display.cut(found["f"], _LONGEST_NAME),
        "args": tuple(args) if isinstance(args, tuple | list) else (args,),
        "kwargs": kwargs if isinstance(kwargs, Mapping) else {"?": kwargs},
        "enqueued": moment(found.get("et")),
    }


def count_of(raw: bytes | None) -> int:
    """Return the value of a counter in Redis; 0 for what is no number of up to 15 digits."""
    return int(raw) if raw and _COUNT.fullmatch(raw) else 0


def _whole_number(value: Any) -> int:
    """Return a count or a time; 0 for what is none, or does not fit JSON."""
    return value if type(value) is int and 0 <= value <= _LARGEST_NUMBER else 0


def _problem(exc: UnreadableError) -> str:
    return display.cut(f"can't be read: {exc}", _LONGEST_PROBLEM)
