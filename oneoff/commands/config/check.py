"""`config check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, ConfigurationError, Result

if TYPE_CHECKING:
    from oneoff.config import Config
    from oneoff.project import Project
    from oneoff.run import Run


class Check(BaseCommand):
    """Check every setting, and that the database takes connections.

    Everything that is wrong is reported together, by the name of the variable and never with its
    value; the exit code is then 78.
    """

    access = Access.READ
    accepts_problems = True
    examples = ("config check", "config check --json")

    async def handle(self, config: Config, project: Project, run: Run) -> Result:
        from oneoff.services.settings_report import (
            connection_problems,
            framework_problems,
            read_settings,
            url_problems,
        )
        from oneoff.urls import parse_database_url

        _, problems = read_settings(config, project)
        problems += framework_problems(config)
        problems += url_problems(config, project)
        problems += await connection_problems(config, project, run.id)
        if problems:
            names = ", ".join(dict.fromkeys(name for name, _ in problems))
            raise ConfigurationError(
                f"{len(problems)} settings are wrong: {names}"
                if len(problems) > 1
                else f"{names} is wrong",
                data=[problem._asdict() for problem in problems],
                try_="python manage.py config show",
                code="bad-settings",
            )
        url = parse_database_url(config.database_url, config.root, project.name)
        found = "answers" if url.exists() else "is not there yet; python manage.py migrate makes it"
        return Result.report(None, f"all settings are right, and the database {found}")
