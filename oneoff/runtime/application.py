"""Load a project: its commands, its settings and its root folder."""

from __future__ import annotations

import gc
import os
import sys

from oneoff.core.errors import ConfigurationError
from oneoff.core.project import Project, load_object
from oneoff.runtime.plugins.entry_points import EVENTS
from oneoff.runtime.registry.registry import Registry

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Mapping

    from oneoff.config.database_url import DatabaseURL
    from oneoff.config.settings import Config
    from oneoff.core.options import GlobalOptions
    from oneoff.core.run import Run
    from oneoff.runtime.plugins.listeners import Listeners


class Application:
    """The project, its settings and its commands, shared by all runs.

    Help and completion create one too, so creating it must be cheap.

    Args:
        project: The declaration in the application's code.
        root: The project's root folder.
        environ: Environment variables to use instead of those of the process, for tests.

    Attributes:
        accepts_problems: Whether `config` is returned even if some settings are wrong. The code
            that loads a command sets it from that command: `config check` runs with wrong settings.
    """

    def __init__(
        self, project: Project, root: str, environ: Mapping[str, str] | None = None
    ) -> None:
        self.project = project
        self.root = root
        # A copy: what `.env` adds to the process later is not said by who started it.
        self.environ = dict(os.environ) if environ is None else environ
        self.registry = Registry.of_project(project.commands, root, project.tasks)
        self.accepts_problems = False
        self._config: Config | None = None
        self._listeners: Listeners | None = None

    @property
    def resources(self) -> Mapping[str, str]:
        """The import strings of the providers of the project and of plug-ins, by name."""
        from oneoff.runtime.plugins.resources import resources_of

        return resources_of(self.project, self.registry.plugins)

    @property
    def listeners(self) -> Listeners:
        """The listeners of plug-ins, loaded at first use."""
        if self._listeners is None:
            from oneoff.runtime.plugins.listeners import Listeners

            points = [one for one in self.registry.plugins if one.group == EVENTS]
            self._listeners = Listeners(points, self.config)
        return self._listeners

    @property
    def config(self) -> Config:
        """The settings, read and checked at first use.

        Raises:
            ConfigurationError: Some settings are wrong; the message names all of them.
        """
        if self._config is None:
            from pathlib import Path

            from oneoff.config.settings import load_config

            self._config = load_config(Path(self.root), self.project, self.environ)
        problems = self._config.problems
        if problems and not self.accepts_problems:
            from oneoff.config.settings import NO_DATABASE

            missing = any(problem.startswith(NO_DATABASE) for problem in problems)
            raise ConfigurationError(
                "; ".join(problems),
                why="all settings are checked before the command starts",
                try_="python manage.py config check",
                code="missing-setting" if missing else "",
            )
        return self._config

    @property
    def configured_environment(self) -> str:
        """The environment that the settings name.

        A run uses the stricter of this one and the one stored in the database.
        """
        return self.config.configured_environment

    def database_url(self, *, for_migrations: bool = False) -> DatabaseURL:
        """Return the checked DATABASE_URL, or MIGRATION_DATABASE_URL if it is set and asked for.

        Args:
            for_migrations: Whether to prefer MIGRATION_DATABASE_URL.

        Raises:
            ConfigurationError: It is not a valid URL of a database.
        """
        return self.config.database(for_migrations=for_migrations)

    def new_run(self, command: str, options: GlobalOptions) -> Run:
        """Return the facts of a run that starts now. Nothing is written.

        Args:
            command: The name of the command.
            options: The global options of the command line.
        """
        from dataclasses import replace
        from datetime import UTC, datetime

        from oneoff.config.operator_identity import agent_of, identify
        from oneoff.core.run import Run

        now = datetime.now(UTC)
        return Run(
            id=f"{now:%Y%m%dT%H%M%S}-{os.urandom(5).hex()}",
            command=command,
            dry_run=options.dry_run,
            operator=replace(identify(self.config.environ), agent=agent_of(self.environ)),
            environment=self.configured_environment,  # `Execution._gate` corrects it
            reason=options.reason,
            ticket=options.ticket,
            started_at=now,
        )

    @staticmethod
    def freeze_imports() -> None:
        """Exclude the imported modules from garbage collection.

        `oneoff.cli` switches collection off while modules load. They create a hundred thousand
        objects that live until the process ends. To scan them repeatedly would take a quarter of
        the start-up time.
        """
        if not gc.isenabled():
            gc.freeze()
            gc.enable()


def find_project(start: str, environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return the project's import string and root folder, for the `oneoff` and `admin` scripts.

    The import string is the variable ONEOFF_PROJECT, or `[tool.oneoff] project` in the nearest
    pyproject.toml.

    Raises:
        ConfigurationError: Neither is set.
    """
    import tomllib
    from pathlib import Path

    if environ.get("ONEOFF_PROJECT"):
        return environ["ONEOFF_PROJECT"], start
    here = Path(start)
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            try:
                tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
            except (OSError, ValueError) as exc:  # also what TOML and UTF-8 can't contain
                raise ConfigurationError(
                    f"{file} can't be read: {exc}", try_=f"correct {file}", code="project-not-found"
                ) from exc
            ours = tool.get("oneoff", {})
            name = ours.get("project") if isinstance(ours, dict) else None
            if name:
                return str(name), str(folder)
    raise ConfigurationError(
        f"no project found in {start} or above it",
        try_=(
            "run the command in the project's folder",
            'or name the project in pyproject.toml: [tool.oneoff] project = "app.project:project"',
        ),
        code="project-not-found",
    )


def load_application(
    project: str, root: str, environ: Mapping[str, str] | None = None
) -> Application:
    """Import the project object and return its application.

    Raises:
        ConfigurationError: The object can't be imported, or is not a `Project`.
    """
    if root not in sys.path:
        sys.path.insert(0, root)
    loaded = load_object(project)
    if not isinstance(loaded, Project):
        raise ConfigurationError(
            f"{project} is a {type(loaded).__name__}, not a Project",
            try_="name the object that oneoff.Project(...) returned",
            code="project-broken",
        )
    return Application(loaded, root, environ)
