"""`system health`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, CheckFailed, Option, Result, Unavailable

if TYPE_CHECKING:
    from oneoff.config import Config
    from oneoff.project import Project
    from oneoff.run import Run


class Health(BaseCommand):
    """Ask every service whether it is well, and how fast it answers.

    Exit code 0: all are; 3: they answer, but migrations are pending; 69: one is down. The run
    leaves no row in the database, so it may be a probe that runs every few seconds.
    """

    access = Access.READ
    examples = ("system health", "system health --wait 60s", "system health --json")

    wait: timedelta = Option(
        default=timedelta(), help="Ask again until all is well, at most this long."
    )

    async def handle(self, config: Config, project: Project, run: Run) -> Result:
        from oneoff.services import health

        checks = await health.wait_until_well(
            lambda: health.check_services(config, project, run.id), self.wait.total_seconds()
        )
        rows = [{**check._asdict(), "health": check.health.value} for check in checks]
        worst = health.worst(checks)
        if worst is health.Health.UP:
            return Result.report(rows)
        raise _error(worst is health.Health.DOWN, rows)


def _error(down: bool, rows: list[dict[str, Any]]) -> Unavailable | CheckFailed:  # noqa: FBT001
    ill = "; ".join(
        f"{row['service']} is {row['health']}: {row['detail']}"
        for row in rows
        if row["health"] != "up"
    )
    if down:
        return Unavailable(ill, try_="python manage.py system health --wait 60s", data=rows)
    return CheckFailed(ill, try_="python manage.py migrate", data=rows)
