"""`hello`: the command of the tutorial."""

from oneoff import Access, Argument, BaseCommand, Flag, Result


class Hello(BaseCommand):
    """Greet somebody.

    It touches nothing, so it is quick and safe to try things with.
    """

    access = Access.READ
    examples = ("hello", "hello Ada --shout")

    name: str = Argument(default="world", help="Whom to greet.")
    shout: bool = Flag(help="Greet in capital letters.")

    async def handle(self) -> Result:
        greeting = f"hello, {self.name}!"
        return Result.unchanged(greeting.upper() if self.shout else greeting)
