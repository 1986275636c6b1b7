"""`config show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Confirm, Flag, Refused, Result

if TYPE_CHECKING:
    from oneoff.config import Config
    from oneoff.project import Project
    from oneoff.terminal import Terminal


class Show(BaseCommand):
    """Show every setting, its value, and where it came from.

    Secrets are masked: by their type, by their name, and passwords inside URLs. --show-secrets
    shows them too, to a person at a terminal alone, and the run is recorded.
    """

    access = Access.READ
    examples = ("config show", "config show --json", "config show --show-secrets")

    show_secrets: bool = Flag(help="Show secrets in clear text; asks first.")

    def confirm_level(self) -> Confirm:
        return Confirm.PROMPT if self.show_secrets else Confirm.NEVER

    def consequence(self) -> str:
        return "shows every secret of this process in clear text"

    def handle(self, config: Config, project: Project, terminal: Terminal) -> Result:
        from oneoff.settings_report import setting_values

        if self.show_secrets and not terminal.interactive:
            raise Refused(
                "secrets are shown to a person at a terminal only",
                why="a pipe, a file or a CI log would keep them",
                try_="python manage.py config show",
                code="terminal-required",
            )
        values, problems = setting_values(config, project)
        data = [
            {"name": value.name, "value": value.value, "source": value.source} for value in values
        ]
        return Result(
            data=data,
            warnings=[f"{name}: {problem}" for name, problem in problems],
            show_once={value.name: value.secret for value in values if value.secret}
            if self.show_secrets
            else {},
        )
