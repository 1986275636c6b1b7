"""`jobs stats`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Result

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.services.jobs.queue import Jobs


class Stats(BaseCommand):
    """Count jobs by function and state; show when a worker was last seen."""

    access = Access.READ
    examples = ("jobs stats", "jobs stats --json")

    async def handle(self, jobs: Jobs, config: Config) -> Result:
        from oneoff.services.jobs.heartbeat import read_heartbeat
        from oneoff.services.jobs.lookup import count_jobs
        from oneoff.services.jobs.queue import now_ms
        from oneoff.services.maintenance.redis_copy import announced_window

        stats = await count_jobs(jobs)
        beat = await read_heartbeat(jobs.client, jobs.worker)
        parts = [f"queue {jobs.worker.queue}"]
        if stats.oldest_due_ms is not None:
            late = max(now_ms() - stats.oldest_due_ms, 0) / 1000
            parts.append(f"the oldest job has waited for {late:.0f} s")
        parts.append(f"a worker was seen {beat.age:.0f} s ago" if beat else "no worker was seen")
        if await announced_window(jobs.client, config):
            parts.append("maintenance is on: workers take no jobs")
        return Result.report(stats.rows(), "; ".join(parts))
