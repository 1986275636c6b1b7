"""The queue of a project's worker: the resource `jobs` of commands."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.core.errors import CommandError, DataError, DryRunViolation, ReadOnlyViolation
from oneoff.core.policy import Mode
from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.worker_settings import WorkerSpec

if TYPE_CHECKING:
    from redis.asyncio import Redis


class Enqueued(NamedTuple):
    """What `enqueue` returns.

    Attributes:
        id: Id of the job.
        created: False if a job with this id already exists, waiting or ended. As in ARQ, nothing is
            queued then.
    """

    id: str
    created: bool


class Jobs:
    """The queue of one worker, and the results of its jobs.

    Args:
        client: A connected client, which refuses writes unless the run commits.
        worker: The worker of the project.
        mode: Mode of the run. Only a run that commits may queue, abort or remove jobs.

    Attributes:
        refused: The error of the first attempt to write in another mode. It ends the run, even if
            the command has caught the error.
    """

    def __init__(self, client: Redis, worker: WorkerSpec, mode: Mode) -> None:
        self.client, self.worker, self.mode = client, worker, mode
        self.refused: CommandError | None = None

    async def enqueue(
        self,
        task: str,
        *args: Any,
        _job_id: str = "",
        _defer_by: timedelta | None = None,
        **kwargs: Any,
    ) -> Enqueued:
        """Queue a job.

        Args:
            task: Name of one of the worker's functions.
            args: Positional arguments of the function.
            kwargs: Arguments of the function by name.
            _job_id: Id of the job; generated if empty. An id that already exists is not queued.
            _defer_by: Time for which no worker may take the job.

        Raises:
            ReadOnlyViolation: The run is a plan, or its command declares `Access.READ`.
            DryRunViolation: The run is a dry run that is rolled back.
            UsageError: There is no such task.
            CommandError: `bad-job-arguments`: the function does not accept these arguments.
            DataError: `job-not-serializable`.
        """
        self.must_write(f"queue {task}")
        check_call(self.worker, task, args, kwargs)
        job_id, now = _job_id or uuid.uuid4().hex, now_ms()
        raw = serialize(self.worker, task, args, kwargs, now)
        due = now + (round(_defer_by.total_seconds() * 1000) if _defer_by else 0)
        return Enqueued(job_id, await self.put(job_id, raw, due, now))

    async def put(self, job_id: str, raw: bytes, due: int, now: int) -> bool:
        """Queue a job and return True, or False if a job with its id already exists.

        Args:
            job_id: Id of the job.
            raw: The serialized job.
            due: When a worker may take it, in milliseconds since 1970.
            now: The current time, in milliseconds since 1970.
        """
        from redis.exceptions import WatchError

        # Write the job and its entry in the queue in one transaction, as ARQ does. WATCH makes EXEC
        # fail if another client queues the same id after EXISTS. Without WATCH, the second client
        # would replace the arguments of the first.
        async with self.client.pipeline(transaction=True) as pipe:
            await pipe.watch(arq_keys.job(job_id))
            if await pipe.exists(arq_keys.job(job_id), arq_keys.result(job_id)):
                return False
            begin(pipe)
            # As in ARQ, the job expires some time after it is due; its entry in the queue does not.
            pipe.psetex(arq_keys.job(job_id), due - now + self.worker.expires_extra_ms, raw)
            pipe.zadd(self.worker.queue, {job_id: due})
            try:
                await pipe.execute()
            except WatchError:  # another client queued it meanwhile
                return False
        return True

    async def mget(self, names: Sequence[str | bytes]) -> Sequence[bytes | None]:
        """Return several values; Redis refuses an MGET without keys.

        Args:
            names: The keys; may be empty.
        """
        return await self.client.mget(names) if names else []

    def must_write(self, what: str) -> None:
        """Raise an error unless the run commits, even if the client would allow the write.

        Args:
            what: What would be written, for the message: "queue a job".

        Raises:
            CommandError: `DryRunViolation` in a dry run, `ReadOnlyViolation` in a read-only run.
        """
        if self.mode is Mode.COMMIT:
            return
        kind = DryRunViolation if self.mode is Mode.ROLLBACK else ReadOnlyViolation
        error = kind(
            f"tried to {what} where only reading is allowed",
            why="this is a dry run, or the command declares Access.READ",
            try_="declare access = Access.WRITE and dry_run = DryRun.PLAN, and return the plan "
            "where run.dry_run is set",
        )
        self.refused = self.refused or error
        raise error


def begin(pipe: Any) -> None:
    """Send MULTI: EXEC runs the following commands together. The driver's method has no types."""
    pipe.multi()


def now_ms() -> int:
    """Return the current time in milliseconds since 1970, as ARQ stores it."""
    return round(time() * 1000)


def check_call(worker: WorkerSpec, task: str, args: Iterable[Any], kwargs: dict[str, Any]) -> None:
    """Raise an error if the function does not accept these arguments."""
    coroutine = worker.task(task).coroutine
    try:
        inspect.signature(coroutine).bind(None, *args, **kwargs)
    except TypeError as exc:
        raise CommandError(
            f"{task} can't be called with these arguments: {exc}",
            why="nothing was queued",
            code="bad-job-arguments",
        ) from None


def serialize(
    worker: WorkerSpec, task: str, args: tuple[Any, ...], kwargs: dict[str, Any], now: int
) -> bytes:
    """Return the bytes of a job, as the worker reads them.

    Raises:
        DataError: `job-not-serializable`.
    """
    from arq.jobs import SerializationError, serialize_job

    try:
        return serialize_job(task, args, kwargs, None, now, serializer=worker.serializer)
    except SerializationError as exc:
        raise DataError(
            f"the arguments of {task} can't be stored: {exc.__cause__}",
            why="the worker reads its jobs from Redis, which stores them as bytes",
            code="job-not-serializable",
        ) from exc
