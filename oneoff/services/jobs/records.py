"""Read one job or result from its pickle. Any field may be missing or have a wrong type."""

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
    """A worker has taken it."""
    QUEUED = "queued"
    """It is due and waits for a worker."""
    DEFERRED = "deferred"
    """It is not due yet."""
    EXPIRED = "expired"
    """It is in the queue, but its pickle has expired because no worker took it in time."""
    COMPLETED = "completed"
    FAILED = "failed"
    """It raised an error, ran out of tries, or was aborted."""
    UNREADABLE = "unreadable"
    """It has ended, but its result can't be read."""


class Ending(NamedTuple):
    """How and when a job ended.

    Attributes:
        status: COMPLETED, FAILED or UNREADABLE.
        finished_ms: When it ended, in milliseconds since 1970; 0 if that can't be read.
    """

    status: JobStatus
    finished_ms: int


_LONGEST_NAME = 200  # characters of a function, a queue or an id
_LONGEST_PROBLEM = 200  # characters
_LARGEST_NUMBER = 2**53 - 1  # every JSON reader can hold integers up to this one
_NUMBER_BYTES = 6  # of a pickled time in milliseconds, until the year 6429
_COUNT = re.compile(rb"[0-9]{1,15}")
_TRUE = b"\x88"
# ARQ's dicts as CPython pickles them with protocol 4 or 5: `t` (tries) and `f` (function) come
# first, `s` (success) comes before the result, `ft` (finished) after it. In these bytes, \x8c is a
# short string with its length, \x8a a number with its length, \x94 stores the value in the memo,
# and \x88 and \x89 are True and False.
_FUNCTION = re.compile(
    rb"\x80[\x04\x05](?:\x95.{8})?\}\x94\(\x8c\x01t\x94(?:N|K.)\x8c\x01f\x94\x8c(.)", re.DOTALL
)
_SUCCESS = re.compile(
    rb"\x8c\x02et\x94\x8a\x06.{6}\x8c\x01s\x94([\x88\x89])\x8c\x01r\x94", re.DOTALL
)
_FINISHED = b"\x8c\x02ft\x94\x8a\x06"
_QUEUE = re.compile(rb"\x8c\x01q\x94\x8c(.)", re.DOTALL)  # `q` follows `ft`


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job.

    Attributes:
        id: ARQ's id of the job.
        status: State of the job.
        function: Name of its function; empty if it can't be read, and `problem` says why.
        args: Positional arguments. Objects in them are not created: see `pickles.reader.Opaque`.
        kwargs: Arguments by name.
        queue: Key of the queue it is or was in.
        enqueued: When it was queued.
        due: When it may start; None unless it is in the queue.
        tries: How often it has been started.
        started: When its last try started; None unless it has ended.
        finished: When it ended.
        result: The value it returned, or the exception it ended with.
        problem: Why it can't be read; empty if it can.
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
        """Whether it was aborted."""
        result = self.result
        # The pickle reader returns an Opaque; the application's own deserializer the exception.
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
        """Seconds that its last try took."""
        if self.started is None or self.finished is None:
            return None
        return round((self.finished - self.started).total_seconds(), 3)

    def row(self) -> dict[str, Any]:
        """Return the job as a row of `jobs list`."""
        return {
            "id": display.truncate(self.id, _LONGEST_NAME),
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
        """Return all fields of the job, as `jobs show` prints them."""
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
        raw: The bytes in Redis.
        deserializer: The application's own; None for pickle, which is read without running it.

    Raises:
        UnreadableError: The bytes can't be read, or are not a job or result of ARQ.
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
        raise UnreadableError("not a job of ARQ")
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
    facts["due"] = utc_time(due_ms)
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
        queue=display.truncate(named, _LONGEST_NAME) if isinstance(named, str) else queue,
        tries=_whole_number(found.get("t")),
        started=utc_time(found.get("st")),
        finished=utc_time(found.get("ft")),
        result=found.get("r"),
        **_call_fields(found),
    )


def function_of(raw: bytes, deserializer: Deserializer | None) -> str:
    """Return the function name of a job or a result; empty if it can't be read.

    Its position in the bytes that CPython writes for ARQ's dict is known. Reading only those bytes
    is 30 times faster than reading the entire pickle, which is done for other pickles.
    """
    if deserializer is None and (found := _FUNCTION.match(raw)):
        begin = found.end()
        return raw[begin : begin + found[1][0]].decode(errors="replace")
    try:
        return display.truncate(load(raw, deserializer)["f"], _LONGEST_NAME)
    except UnreadableError:
        return ""


def ending_of(raw: bytes, deserializer: Deserializer | None) -> Ending:
    """Return how a job ended; reads only the needed bytes if possible, as `function_of` does."""
    if deserializer is None and _FUNCTION.match(raw):
        # Search the time from the end: an argument or a result may contain the same bytes.
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


def queue_of(raw: bytes, deserializer: Deserializer | None, default: str) -> str | None:
    """Return the queue of a job that has ended; None if that can't be read.

    Args:
        raw: The result.
        deserializer: As for `load`.
        default: Returned for results of old versions of ARQ, which do not name their queue.
    """
    at = raw.rfind(_FINISHED)
    if deserializer is None and at > 0 and _FUNCTION.match(raw):
        found = _QUEUE.match(raw, at + len(_FINISHED) + _NUMBER_BYTES)
        if found:
            return raw[found.end() : found.end() + found[1][0]].decode(errors="replace")
    try:
        named = load(raw, deserializer).get("q")
    except UnreadableError:
        return None
    return named if isinstance(named, str) else default


def utc_time(milliseconds: Any) -> datetime | None:
    """Convert milliseconds since 1970 to a UTC datetime; None if the value is not a time."""
    if not isinstance(milliseconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _call_fields(found: Mapping[str, Any]) -> dict[str, Any]:
    args, kwargs = found.get("a"), found.get("k")
    return {
        "function": display.truncate(found["f"], _LONGEST_NAME),
        "args": tuple(args) if isinstance(args, tuple | list) else (args,),
        "kwargs": kwargs if isinstance(kwargs, Mapping) else {"?": kwargs},
        "enqueued": utc_time(found.get("et")),
    }


def count_of(raw: bytes | None) -> int:
    """Return the value of a counter in Redis; 0 unless it is a number of up to 15 digits."""
    return int(raw) if raw and _COUNT.fullmatch(raw) else 0


def _whole_number(value: Any) -> int:
    """Return a count or a time; 0 if it is not a whole number that fits JSON."""
    return value if type(value) is int and 0 <= value <= _LARGEST_NUMBER else 0


def _problem(exc: UnreadableError) -> str:
    return display.truncate(f"can't be read: {exc}", _LONGEST_PROBLEM)
