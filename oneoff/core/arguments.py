"""How a command declares its inputs: typed class attributes.

    user: str = Argument(help="Username or email.")
    limit: int = Option(default=50, help="Show at most this many.")
    active_only: bool = Flag(help="Leave out deactivated users.")
    password: SecretStr = Secret(env="USER_PASSWORD", help="The new password.")

The annotation drives parsing (see `oneoff.core.conversion`); the attribute name gives the spelling:
`active_only` is `--active-only`. A secret is never taken from the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

MISSING: Any = object()
"""Stands for "no default": the input is required."""


class Kind(Enum):
    """The four ways a value reaches a command."""

    ARGUMENT = "argument"
    OPTION = "option"
    FLAG = "flag"
    SECRET = "secret"  # noqa: S105 - the name of a kind, not a password


class Field:
    """One declared input.

    `name` and `annotation` are filled in when the class that declares the field is first used.
    """

    __slots__ = (
        "annotation",
        "choices",
        "confirm",
        "default",
        "env",
        "generate",
        "help",
        "kind",
        "name",
        "short",
    )

    def __init__(
        self,
        kind: Kind,
        *,
        help: str,  # noqa: A002 - the field's own word, as in argparse and click
        default: Any = MISSING,
        short: str = "",
        choices: Sequence[str] = (),
        env: str = "",
        confirm: bool = False,
        generate: bool = False,
    ) -> None:
        self.kind = kind
        self.help = help
        self.default = default
        self.short = short
        self.choices = tuple(choices)
        self.env = env
        self.confirm = confirm
        self.generate = generate
        self.name = ""
        self.annotation: Any = str

    @property
    def required(self) -> bool:
        """Whether the run can't start without a value."""
        return self.default is MISSING

    @property
    def spelling(self) -> str:
        """How the operator writes it: `USER` for an argument, `--limit` for an option."""
        if self.kind is Kind.ARGUMENT:
            return self.name.upper()
        return "--" + self.name.replace("_", "-")


def Argument(  # noqa: N802 - reads as a declaration, like a class
    *,
    help: str,  # noqa: A002
    default: Any = MISSING,
    choices: Sequence[str] = (),
) -> Any:
    """Declare a positional argument.

    Args:
        help: One sentence for `--help`.
        default: Makes the argument optional. An annotation `list[T]` takes all that remain.
        choices: The texts allowed, when the type doesn't say so itself (Enum and Literal do).
    """
    return Field(Kind.ARGUMENT, help=help, default=default, choices=choices)


def Option(  # noqa: N802
    *,
    help: str,  # noqa: A002
    default: Any = MISSING,
    short: str = "",
    choices: Sequence[str] = (),
) -> Any:
    """Declare an option with a value: `--limit 50` or `--limit=50`.

    Args:
        help: One sentence for `--help`.
        default: Without one the option is required. An annotation `list[T]` may be repeated.
        short: One letter: `short="l"` allows `-l 50`.
        choices: The texts allowed, when the type doesn't say so itself.
    """
    return Field(Kind.OPTION, help=help, default=default, short=short, choices=choices)


def Flag(*, help: str, default: bool = False, short: str = "") -> Any:  # noqa: A002, N802
    """Declare a switch that is off unless given.

    Args:
        help: One sentence for `--help`.
        default: False. It is here for type checkers, which learn from it that code may leave the
            flag out.
        short: One letter: `short="a"` allows `-a`.
    """
    return Field(Kind.FLAG, help=help, default=default, short=short)


def Secret(  # noqa: N802
    *,
    help: str,  # noqa: A002
    env: str,
    default: Any = MISSING,
    confirm: bool = False,
    generate: bool = False,
) -> Any:
    """Declare a secret; annotate it with `SecretStr`.

    It is read, in this order, from standard input when `--NAME-stdin` is given, made up when
    `--generate-NAME` is given, taken from the environment variable `env`, or asked for on the
    terminal without echo. It is removed from everything that is printed, logged or recorded.

    Args:
        help: One sentence for `--help`.
        env: The environment variable that may hold it.
        default: `None` makes the secret optional: it is then never asked for.
        confirm: Ask twice on a terminal and compare.
        generate: Allow `--generate-NAME`; the command shows the value by `Result.show_once`.
    """
    return Field(
        Kind.SECRET, help=help, env=env, default=default, confirm=confirm, generate=generate
    )


class SecretStr:
    """A text that does not show itself: not in repr, str, logs, tracebacks or records.

    Attributes:
        generated: Whether `--generate-NAME` made it up, so that the operator has not seen it yet.
    """

    __slots__ = ("_value", "generated")

    def __init__(self, value: str, *, generated: bool = False) -> None:
        self._value = value
        self.generated = generated

    def reveal(self) -> str:
        """Return the text itself; keep it out of messages."""
        return self._value

    def __repr__(self) -> str:
        return "SecretStr('**********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class SecretSource(Enum):
    """Where the operator said a secret comes from; resolved just before the run starts."""

    UNSAID = "unsaid"
    STDIN = "stdin"
    GENERATE = "generate"
