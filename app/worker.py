"""The worker process: `arq app.worker.WorkerSettings`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC
from typing import Any

from arq import cron, func
from pydantic import ValidationError

from app.mailer import make_mailer
from app.project import project
from app.settings import ROOT, Settings
from app.tasks import deliver_outbox, expire_keys, refresh_report, send_welcome_mail
from oneoff import Application, load_config
from oneoff.integrations.arq import (
    MaintenanceReader,
    WorkerConnection,
    bind_job,
    open_pooled_database,
    outlive_outages,
    pause_during_maintenance,
    shard_function,
)

_DAY = 86_400.0  # seconds


async def start(ctx: dict[Any, Any]) -> None:
    """Open the database and the mailer for the tasks."""
    stack = ctx["stack"] = AsyncExitStack()
    config, settings = load_config(ROOT, project), Settings()
    ctx["application"] = Application(project, str(ROOT))
    ctx["database"] = await stack.enter_async_context(
        open_pooled_database(config, service="worker", pool_size=settings.database_pool_size)
    )
    ctx["mailer"] = make_mailer(settings.mail_url.get_secret_value(), settings.mail_from, ROOT)
    outlive_outages(ctx)
    reader = MaintenanceReader(config)
    stack.push_async_callback(reader.aclose)
    pause_during_maintenance(ctx, reader)


async def stop(ctx: dict[Any, Any]) -> None:
    """Close what `start` has opened, also if it failed halfway."""
    if "stack" in ctx:
        await ctx["stack"].aclose()


def max_jobs() -> int:
    """Return WORKER_MAX_JOBS, or its default if a setting is wrong.

    ARQ and commands read this number when they import the worker. A worker with wrong settings
    ends when it connects, and reports them.
    """
    try:
        return Settings().worker_max_jobs
    except ValidationError:
        return int(Settings.model_fields["worker_max_jobs"].default)


class WorkerSettings:
    """The settings of the worker. ARQ and the `jobs` commands read them."""

    functions = (
        func(send_welcome_mail, timeout=60, max_tries=4),
        refresh_report,
        expire_keys,
        deliver_outbox,
        shard_function(project, str(ROOT)),
    )
    cron_jobs = (
        cron(refresh_report, minute=5),
        cron(expire_keys, hour=3, minute=10),
        cron(deliver_outbox, second=30),
    )
    redis_settings = WorkerConnection(load_config(ROOT, project))
    on_startup = start
    on_shutdown = stop
    on_job_start = bind_job
    max_jobs = max_jobs()
    keep_result = _DAY
    allow_abort_jobs = True
    health_check_interval = 10
    # After SIGTERM jobs have 20 seconds to finish. Platforms kill the process after 30.
    job_completion_wait = 20
    timezone = UTC
