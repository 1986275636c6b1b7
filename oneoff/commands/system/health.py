"""`system health`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from oneoff import Access, BaseCommand, CheckFailed, ConfigurationError, Option, Result, Unavailable

if TYPE_CHECKING:
    from oneoff import CommandError
    from oneoff.config.settings import Config
    from oneoff.core.run import Run

Name = Literal["database", "migrations", "redis", "worker"]


class Health(BaseCommand):
    """Check whether every service is healthy, and how fast it answers.

    This checks the database and its migrations and, if REDIS_URL is set, Redis and the project's
    worker. The exit code is 0 if all are healthy, 3 if they answer but migrations are pending, 69
    if one is down or no worker is running, and 78 if one refuses a setting, such as the password.
    The detail of the database counts the runs with --break-glass that nobody has reviewed in time.
    The run is not recorded in the database, so a probe can run this command every few seconds.
    """

    access = Access.READ
    examples = (
        "system health",
        "system health --wait 60s",
        "system health --only database --only redis",
        "system health --json",
    )

    wait: timedelta = Option(
        default=timedelta(), help="Try again until all are healthy, for at most this long."
    )
    only: list[Name] = Option(default=[], help="Check only this service; can be repeated.")

    async def handle(self, config: Config, run: Run) -> Result:
        from oneoff.services import health

        only = [health.Service(name) for name in self.only]
        checks = await health.wait_until_healthy(
            lambda: health.check_services(config, run.id, only=only, reviews=True),
            self.wait.total_seconds(),
        )
        rows = [{**check._asdict(), "health": check.health.value} for check in checks]
        worst = health.worst(checks)
        if worst is health.Health.UP:
            left_out = not only and config.project.worker and not config.redis_url
            note = "redis and worker were not checked: REDIS_URL is not set" if left_out else ""
            return Result.report(rows, note)
        raise _error(worst.value, rows)


def _error(worst: str, rows: list[dict[str, Any]]) -> CommandError:
    ill = "; ".join(
        f"{row['service']} is {row['health']}: {row['detail']}"
        for row in rows
        if row["health"] not in {"up", "unknown"}
    )
    if worst == "behind":
        return CheckFailed(ill, try_="python manage.py migrate", data=rows)
    if worst == "down":
        return Unavailable(ill, try_="python manage.py system health --wait 60s", data=rows)
    return ConfigurationError(
        ill, try_="python manage.py config check", data=rows, code="bad-settings"
    )
