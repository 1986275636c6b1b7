"""`hello`: the command of the tutorial."""

from oneoff import Access, Argument, BaseCommand, Flag, Result


class Hello(BaseCommand):
    """Print a greeting.

    The command changes nothing and connects to nothing. Use it to try the options.
    """

    access = Access.READ
    examples = ("hello", "hello Ada --shout")

    name: str = Argument(default="world", help="The name to greet.")
    shout: bool = Flag(help="Greet in capital letters.")

    async def handle(self) -> Result:
        greeting = f"hello, {self.name}!"
        return Result.unchanged(greeting.upper() if self.shout else greeting)
