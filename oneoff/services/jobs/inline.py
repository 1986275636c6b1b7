"""Run a task here, as the worker would: without a worker, and without touching its queue."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.services.jobs.queue import now_ms, serialize
from oneoff.services.jobs.records import JobRecord, ended_record, moment
from oneoff.services.jobs.worker_settings import Task, WorkerSpec

if TYPE_CHECKING:
    from oneoff.config.settings import Config


class Ran(NamedTuple):
    """What came out of it.

    Attributes:
        record: As a worker would have kept it.
        error: What it failed with: the object that a worker would only keep the name of. Where
            the tries were used up, what led to the last one.
    """

    record: JobRecord
    error: BaseException | None


async def run_inline(
    worker: WorkerSpec, config: Config, task: Task, kwargs: Mapping[str, Any], job_id: str = ""
) -> Ran:
    """Run a task to its end, and return what a worker would have kept of it.

    Its context, its hooks, its tries and its timeout are the worker's; arguments and result go
    through the worker's serialiser, so that what can't travel through Redis fails here too.

    Raises:
        DataError: `job-not-serializable`.
        Exception: Whatever a hook raises: a worker would not survive that either.
    """
    from arq.jobs import deserialize_job_raw, serialize_result

    now = now_ms()
    raw = serialize(worker, task.name, (), dict(kwargs), now)
    _, args, kwargs, _, _ = deserialize_job_raw(raw, deserializer=worker.deserializer)
    job = _Job(worker, task, job_id or uuid.uuid4().hex, now)
    async with _context(worker, config) as context:
        # In a task of its own, as in a worker: what a hook binds to the context stays in there.
        await asyncio.ensure_future(job.run(context, tuple(args), kwargs))
    result = serialize_result(
        *(task.name, args, dict(kwargs), job.tries, now, job.success, job.result),
        *(job.started_ms, now_ms(), f"{job.id}:{task.name}", worker.queue),
        job_id=job.id,
        serializer=worker.serializer,
    )
    record = ended_record(job.id, result or b"", worker.deserializer, worker.queue)
    return Ran(record, job.error)


class _Job:
    """One job from its first try to its last."""

    def __init__(self, worker: WorkerSpec, task: Task, job_id: str, enqueued_ms: int) -> None:
        self.worker, self.task, self.id = worker, task, job_id
        self.enqueued_ms = self.started_ms = enqueued_ms
        self.tries = 0
        self.success = False
        self.result: Any = None
        self.error: BaseException | None = None

    async def run(
        self, context: Mapping[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Try until it ends, or the tries are used up."""
        from arq.worker import JobExecutionFailed

        pause: float | None = 0.0
        while pause is not None:
            await asyncio.sleep(pause)
            self.tries += 1
            if self.tries > self.task.max_tries:
                message = f"max {self.task.max_tries} retries exceeded"
                self.result = JobExecutionFailed(message)
                return
            of_this_try = {**context, **self._facts()}
            await _call(self.worker, "on_job_start", of_this_try)
            self.started_ms = now_ms()
            pause = await self._try(of_this_try, args, kwargs)
            await _call(self.worker, "on_job_end", of_this_try)
            await _call(self.worker, "after_job_end", of_this_try)

    async def _try(
        self, context: dict[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> float | None:
        """Run it once; return the seconds until the next try, or None if it has ended."""
        from arq.worker import Retry, RetryJob

        running = asyncio.ensure_future(self.task.coroutine(context, *args, **kwargs))
        try:
            self.result = await asyncio.wait_for(running, self.task.timeout)
        except (Retry, RetryJob) as exc:
            self.error = exc.__cause__ or exc
            if self.worker.retry_jobs:
                return (getattr(exc, "defer_score", None) or 0) / 1000
            self.result = exc
        except asyncio.CancelledError as exc:
            me = asyncio.current_task()
            if me is not None and me.cancelling():
                raise  # not the task's doing: this run is being stopped
            if self.worker.retry_jobs:
                return 0.0
            self.result = self.error = exc
        except Exception as exc:  # noqa: BLE001 - however it fails, that is the job's result
            self.result = self.error = exc
        else:
            self.success, self.error = True, None
        return None

    def _facts(self) -> dict[str, Any]:
        return {
            "job_id": self.id,
            "job_try": self.tries,
            "enqueue_time": moment(self.enqueued_ms),
            "score": self.enqueued_ms,
        }


@asynccontextmanager
async def _context(worker: WorkerSpec, config: Config) -> AsyncIterator[dict[Any, Any]]:
    """Give the context that the worker makes when it starts, with a connection of its own.

    `inline` in it tells hooks that no worker runs them.
    """
    from arq.connections import create_pool

    from oneoff.services.jobs.redis_settings import redis_settings

    pool = await create_pool(
        redis_settings(config),
        job_serializer=worker.serializer,
        job_deserializer=worker.deserializer,
        default_queue_name=worker.queue,
        expires_extra_ms=worker.expires_extra_ms,
    )
    context = {**worker.ctx, "redis": pool, "inline": True}
    try:
        await _call(worker, "on_startup", context)
        try:
            yield context
        finally:
            await _call(worker, "on_shutdown", context)
    finally:
        await pool.aclose()


async def _call(worker: WorkerSpec, hook: str, context: dict[Any, Any]) -> None:
    if hook in worker.hooks:
        await worker.hooks[hook](context)
