"""A worker that pauses during a maintenance window, on a real Redis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from arq import cron
from arq.connections import ArqRedis
from arq.worker import Worker

from oneoff.integrations.arq import pause_during_maintenance
from oneoff.services.maintenance.window import Window
from tests.support.arq_shop import add

if TYPE_CHECKING:
    from oneoff.services.maintenance.reader import MaintenanceReader

MINUTE = timedelta(minutes=1)


class Switch:
    """Says whether a window is open."""

    def __init__(self) -> None:
        self.is_open = False

    async def window(self) -> Window | None:
        """Return a window if it is open."""
        return Window("w", datetime.now(UTC)) if self.is_open else None


async def test_cron_jobs_do_not_pile_up_during_maintenance(redis_url: str) -> None:
    """Each is queued once, and again when it is next due; other jobs are queued as usual."""
    switch, at = Switch(), datetime(2026, 1, 1, 8, 59, 59, 500_000, tzinfo=UTC)
    async with ArqRedis.from_url(redis_url) as pool:
        worker = Worker(
            cron_jobs=[
                cron(add, second=0),
                cron(add, name="named", second=0),
                cron(add, name="cron:each-worker", second=0, unique=False),
                cron(add, name="hourly", minute=30, second=0),
            ],
            redis_pool=pool,
            handle_signals=False,
        )
        pause_during_maintenance({"redis": pool}, cast("MaintenanceReader", switch))
        counts = []
        await worker.run_cron(at - MINUTE, 0.5)  # computes when each is first due
        for minute in range(8):
            switch.is_open = 2 <= minute < 6
            await pool.zrangebyscore("arq:queue", "-inf", 0)  # as each poll of the worker
            await worker.run_cron(at + minute * MINUTE, 0.5)
            counts.append(await pool.zcard("arq:queue"))
        switch.is_open = True
        await pool.zrangebyscore("arq:queue", "-inf", 0)
        for number in range(2):
            await pool.enqueue_job("sum", number)
        await worker.run_cron(at + 31 * MINUTE, 0.5)
        counts.append(await pool.zcard("arq:queue"))

    assert [3, 6, 9, 9, 9, 9, 12, 15, 15 + 2 + 4] == counts
