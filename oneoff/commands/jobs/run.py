"""`jobs run`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oneoff import Access, Argument, BaseCommand, DryRun, Flag, Option, Result, UsageError

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.run import Run as Facts
    from oneoff.services.jobs.queue import Jobs


class Run(BaseCommand):
    """Queue a job for the worker, or run it in this process.

    The task and its arguments are checked before the job is queued. Values are converted to the
    annotated types of the task; write lists, dicts and objects as JSON. With --quiet, only the
    job's id is printed; if --wait or --inline is given too, only its result, as JSON.
    """

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = (
        "jobs run send_welcome_mail --args user_id=1 --wait --timeout 30s",
        "jobs run refresh_report --args day=2026-01-31 --inline",
        "jobs run refresh_report --defer 5m --job-id nightly-report",
        """jobs run send_welcome_mail --args-json '{"user_id": 1}' --dry-run""",
    )

    task_: str = Argument(help="Name of a function of the worker.")
    values: list[str] = Argument(default=[], help="Arguments of the task, as name=value.")
    args: list[str] = Option(default=[], help="An argument of the task, as name=value.")
    args_json: str = Option(default="", help="Arguments as a JSON object.")
    wait: bool = Flag(help="Wait for the result; the run fails if the job fails.")
    inline: bool = Flag(help="Run the task in this process, without a worker. Redis is needed.")
    defer: timedelta | None = Option(default=None, help="Delay the job by this time: 5m, 2h.")
    job_id: str = Option(default="", help="Id of the job; if it already exists, nothing is queued.")

    def also_needs(self) -> tuple[str, ...]:
        """Need the database for --inline, because a task writes to it by its own connections."""
        return ("session",) if self.inline else ()

    async def handle(self, jobs: Jobs, config: Config, run: Facts) -> Result:
        from oneoff.services.jobs import run as service

        self._check()
        call = service.prepare(
            jobs,
            self.task_,
            [*self.args, *self.values],
            self.args_json,
            defer=self.defer,
            job_id=self.job_id,
            wait=self.wait,
        )
        if run.dry_run:
            return await service.plan(jobs, call, inline=self.inline, wait=self.wait)
        if self.inline:
            return await service.run_here(jobs, config, call)
        if self.wait:
            return await service.queue_and_wait(jobs, config, call)
        return await service.queue(jobs, call)

    def _check(self) -> None:
        together: dict[str, Any] = {"--wait": self.wait, "--defer": self.defer is not None}
        problems = [
            f"--inline and {option} can't be used together"
            for option, given in together.items()
            if self.inline and given
        ]
        if problems:
            raise UsageError(problems, try_="python manage.py jobs run --help")
