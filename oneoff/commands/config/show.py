"""`config show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Confirm, Flag, Result

if TYPE_CHECKING:
    from oneoff.config.settings import Config


class Show(BaseCommand):
    """Show every setting with its value and its source.

    Secrets are masked: settings with a secret type or name, and passwords in URLs. --show-secrets
    shows them in clear text, but only at a terminal, and the run is recorded.
    """

    access = Access.READ
    accepts_problems = True
    examples = ("config show", "config show --json", "config show --show-secrets")

    show_secrets: bool = Flag(help="Show secrets in clear text; asks for confirmation.")

    def confirm_level(self) -> Confirm:
        return Confirm.PROMPT if self.show_secrets else Confirm.NEVER

    def needs_terminal(self) -> bool:
        return self.show_secrets

    def consequence(self) -> str:
        return "shows every secret of this process in clear text; a pipe or a log would keep them"

    def handle(self, config: Config) -> Result:
        from oneoff.services.settings import likely_typos, setting_values, settings_problems

        values = setting_values(config)
        data = [
            {"name": value.name, "value": value.value, "source": value.source} for value in values
        ]
        problems = [problem.line() for problem in settings_problems(config)]
        return Result(
            data=data,
            warnings=[*problems, *likely_typos(config)],
            show_once={value.name: value.secret for value in values if value.secret}
            if self.show_secrets
            else {},
        )
