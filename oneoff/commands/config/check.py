"""`config check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, ConfigurationError, Result, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff import CommandError
    from oneoff.config.settings import Config
    from oneoff.core.run import Run
    from oneoff.services.settings import Problem


class Check(BaseCommand):
    """Check every setting, and connect to the database and Redis.

    All problems are reported together, with the name of the variable and never its value. The exit
    code is then 78. It is 69 if the only problem is that a server does not answer.
    """

    access = Access.READ
    accepts_problems = True
    examples = ("config check", "config check --json")

    async def handle(self, config: Config, run: Run) -> Result:
        from oneoff.services.settings import connection_problems, likely_typos, settings_problems

        problems = settings_problems(config)
        problems += await connection_problems(config, run.id)
        typos, warnings = likely_typos(config), list[str]()
        if not problems:
            problems, warnings = _worker_findings(config)
        if problems:
            raise _error(problems, [*typos, *warnings])
        warnings += [f"{problem}, so it is not used here" for problem in config.ignored] + typos
        url = config.database()
        found = (
            "answers" if url.exists() else "does not exist yet; python manage.py migrate creates it"
        )
        redis = "; Redis answers" if config.redis_url else ""
        message = f"all settings are valid, and the database {found}{redis}"
        return Result.report(None, message, warnings=warnings)


def _worker_findings(config: Config) -> tuple[list[Problem], list[str]]:
    """Return the problem, or the warning, of a worker that uses another Redis than REDIS_URL."""
    from oneoff.services.settings import REDIS, Problem

    if not (config.redis_url and config.project.worker):
        return [], []
    from oneoff.config.redis_url import redis_url
    from oneoff.services.jobs import worker_settings

    url = redis_url(config)
    try:
        worker = worker_settings.load_worker(config.project)
    except (ConfigurationError, ImportError, AttributeError):
        return [], []  # no setting; and a web process may be installed without ARQ
    try:
        worker_settings.check_same_redis(worker, url)
    except ConfigurationError as exc:
        return [Problem(REDIS, exc.message)], []
    warning = worker_settings.default_redis_warning(worker, url)
    return [], [warning] if warning else []


def _error(problems: Sequence[Problem], warnings: Sequence[str]) -> CommandError:
    names = ", ".join(dict.fromkeys(problem.setting for problem in problems))
    rows = [problem.row() for problem in problems]
    if all(problem.temporary for problem in problems):
        return Unavailable(
            f"no server answers at {names}",
            try_="python manage.py system health --wait 60s",
            data=rows,
        )
    return ConfigurationError(
        f"{len(problems)} settings are wrong: {names}"
        if len(problems) > 1
        else f"{names} is wrong",
        data=rows,
        try_=("python manage.py config show", *warnings),
        code="bad-settings",
    )
