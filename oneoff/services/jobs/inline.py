"""Run a task in this process as a worker would, without using the queue."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.services.jobs.queue import now_ms, serialize
from oneoff.services.jobs.records import JobRecord, ended_record, utc_time
from oneoff.services.jobs.worker_settings import Task, WorkerSpec

if TYPE_CHECKING:
    from oneoff.config.settings import Config


class InlineResult(NamedTuple):
    """How a task that ran in this process ended.

    Attributes:
        record: The record that a worker would have stored.
        error: The exception it failed with; a worker stores only its pickle. If all tries were
            used, the exception of the last try.
    """

    record: JobRecord
    error: BaseException | None


async def run_inline(
    worker: WorkerSpec, config: Config, task: Task, kwargs: Mapping[str, Any], job_id: str = ""
) -> InlineResult:
    """Run a task to its end, and return the record that a worker would have stored.

    Context, hooks, tries and timeout are those of the worker. Arguments and result pass through the
    worker's serializer, so a value that can't be stored in Redis fails here too.

    Raises:
        DataError: `job-not-serializable`.
        Exception: Any error of a hook; it would end a worker too.
    """
    from arq.jobs import deserialize_job_raw, serialize_result

    now = now_ms()
    raw = serialize(worker, task.name, (), dict(kwargs), now)
    _, args, kwargs, _, _ = deserialize_job_raw(raw, deserializer=worker.deserializer)
    job = _Job(worker, task, job_id or uuid.uuid4().hex, now)
    async with _worker_context(worker, config) as context:
        # Run it in a separate asyncio task, as a worker does: context variables that a hook sets
        # are not visible outside.
        await asyncio.ensure_future(job.run(context, tuple(args), kwargs))
    result = serialize_result(
        *(task.name, args, dict(kwargs), job.tries, now, job.success, job.result),
        *(job.started_ms, now_ms(), f"{job.id}:{task.name}", worker.queue),
        job_id=job.id,
        serializer=worker.serializer,
    )
    record = ended_record(job.id, result or b"", worker.deserializer, worker.queue)
    return InlineResult(record, job.error)


class _Job:
    """One job, from its first to its last try."""

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
        """Repeat the task until it ends or has used its tries."""
        from arq.worker import JobExecutionFailed

        pause: float | None = 0.0
        while pause is not None:
            await asyncio.sleep(pause)
            self.tries += 1
            if self.tries > self.task.max_tries:
                message = f"max {self.task.max_tries} retries exceeded"
                self.result = JobExecutionFailed(message)
                return
            try_context = {**context, **self._try_context()}
            await _call_hook(self.worker, "on_job_start", try_context)
            self.started_ms = now_ms()
            pause = await self._try(try_context, args, kwargs)
            await _call_hook(self.worker, "on_job_end", try_context)
            await _call_hook(self.worker, "after_job_end", try_context)

    async def _try(
        self, context: dict[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> float | None:
        """Run the task once; return the seconds until the next try, or None if it has ended."""
        from arq.worker import Retry, RetryJob

        # As in ARQ's `Worker.run_job`: with `retry_jobs`, Retry, RetryJob and a cancellation lead
        # to another try. Any other error ends the job.
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
                raise  # the run itself is cancelled, not only the task
            if self.worker.retry_jobs:
                return 0.0
            self.result = self.error = exc
        except Exception as exc:  # noqa: BLE001 - any failure is the job's result
            self.result = self.error = exc
        else:
            self.success, self.error = True, None
        return None

    def _try_context(self) -> dict[str, Any]:
        return {
            "job_id": self.id,
            "job_try": self.tries,
            "enqueue_time": utc_time(self.enqueued_ms),
            "score": self.enqueued_ms,
        }


@asynccontextmanager
async def _worker_context(worker: WorkerSpec, config: Config) -> AsyncIterator[dict[Any, Any]]:
    """Create the context that a worker creates when it starts, with its own Redis connection.

    Hooks can check its key `inline` to know that no worker runs them.
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
        await _call_hook(worker, "on_startup", context)
        try:
            yield context
        finally:
            await _call_hook(worker, "on_shutdown", context)
    finally:
        await pool.aclose()


async def _call_hook(worker: WorkerSpec, hook: str, context: dict[Any, Any]) -> None:
    if hook in worker.hooks:
        await worker.hooks[hook](context)
