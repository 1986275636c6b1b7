"""`config check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, ConfigurationError, Result, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff import CommandError
    from oneoff.config.settings import Config
    from oneoff.core.project import Project
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

    async def handle(self, config: Config, project: Project, run: Run) -> Result:
        from oneoff.config.database_url import parse_database_url
        from oneoff.services.settings import connection_problems, likely_typos, settings_problems

        problems = settings_problems(config, project)
        problems += await connection_problems(config, project, run.id)
        typos = likely_typos(config, project)
        if problems:
            raise _error(problems, typos)
        url = parse_database_url(config.database_url, config.root, project.name)
        found = (
            "answers" if url.exists() else "does not exist yet; python manage.py migrate creates it"
        )
        redis = "; Redis answers" if config.redis_url else ""
        message = f"all settings are valid, and the database {found}{redis}"
        return Result.report(None, message, warnings=typos)


def _error(problems: Sequence[Problem], typos: Sequence[str]) -> CommandError:
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
        try_=("python manage.py config show", *typos),
        code="bad-settings",
    )
