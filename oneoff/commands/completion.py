"""`completion`."""

from __future__ import annotations

from typing import Literal

from oneoff import Access, Argument, BaseCommand, Option, Result


class Completion(BaseCommand):
    """Print a script that completes command lines in a shell.

    To load it, add this line to the shell's start-up file:
    source <(python manage.py completion bash)
    """

    access = Access.READ
    examples = ("completion bash", "completion fish | source")

    shell: Literal["bash", "zsh", "fish"] = Argument(help="The shell that loads the script.")
    program: str = Option(default="manage.py", help="File name of the program to complete.")

    async def handle(self) -> Result:
        from oneoff.services.help.completion import script

        return Result.report(script(self.shell, self.program))
