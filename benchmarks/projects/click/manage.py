"""A click group that imports a command when it is asked for: the LazyGroup of click's manual."""

from importlib import import_module
from pathlib import Path

import click

COMMANDS = Path(__file__).parent / "commands"


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(file.stem.replace("_", "-") for file in COMMANDS.glob("[a-z]*.py"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        module = name.replace("-", "_")
        if not (COMMANDS / f"{module}.py").exists():
            return None
        return import_module(f"commands.{module}").command


@click.group(cls=LazyGroup)
def cli() -> None:
    """Run the commands of this project."""


if __name__ == "__main__":
    cli(prog_name="manage")
