"""The worker of the tally project: `arq tests.support.tally_worker.WorkerSettings`."""

from __future__ import annotations

import os
from typing import Any

from oneoff.config.settings import load_config
from oneoff.integrations.arq import shard_function
from oneoff.integrations.arq.worker import WorkerConnection, outlive_outages
from tests.support.tally_project import ROOT, project


async def start(ctx: dict[Any, Any]) -> None:
    """Wait for Redis during outages."""
    outlive_outages(ctx)


class WorkerSettings:
    """Takes shards, and nothing else."""

    functions = (shard_function(project, str(ROOT)),)
    redis_settings = WorkerConnection(load_config(ROOT, project))
    on_startup = start
    poll_delay = 0.05
    max_jobs = int(os.environ.get("TALLY_JOBS", "2"))


class Unwilling:
    """Takes no shards."""

    functions = (start,)
