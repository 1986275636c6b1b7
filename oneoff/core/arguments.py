"""Declare the inputs of a command as typed class attributes.

    user: str = Argument(help="Username or email.")
    limit: int = Option(default=50, help="Show at most this many.")
    active_only: bool = Flag(help="Leave out deactivated users.")
    password: SecretStr = Secret(env="USER_PASSWORD", help="The new password.")

The annotation determines how a value is parsed (see `oneoff.core.conversion`), and the attribute's
name its spelling: `active_only` is `--active-only`. Secrets are never taken from the command line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from typing import Any

MISSING: Any = object()
"""Means "no default": the input is required."""


class Kind(Enum):
    """The four ways a value reaches a command."""

    ARGUMENT = "argument"
    OPTION = "option"
    FLAG = "flag"
    SECRET = "secret"  # noqa: S105 - the name of a kind, not a password


class Field:
    """One declared input.

    `name` and `annotation` are set when the fields of the declaring class are first used.

    Attributes:
        line: The file and the line of the declaration, for messages about it.
    """

    __slots__ = (
        "annotation",
        "choices",
        "complete",
        "confirm",
        "default",
        "env",
        "generate",
        "help",
        "kind",
        "line",
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
        complete: str = "",
        env: str = "",
        confirm: bool = False,
        generate: bool = False,
    ) -> None:
        self.kind = kind
        self.help = help
        self.default = default
        self.short = short
        self.choices = tuple(choices)
        self.complete = complete
        self.env = env
        self.confirm = confirm
        self.generate = generate
        self.name = ""
        self.annotation: Any = str
        code = sys._getframe(2)  # noqa: SLF001 - of the class whose attribute this becomes
        self.line = (code.f_code.co_filename, code.f_lineno)

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return self.default is MISSING

    @property
    def spelling(self) -> str:
        """The name on the command line: `USER` for an argument, `--limit` for an option."""
        # `class_` and `task_` are names that an attribute can't have without the underscore.
        name = self.name.removesuffix("_")
        return name.upper() if self.kind is Kind.ARGUMENT else "--" + name.replace("_", "-")


def Argument(  # noqa: N802 - reads as a declaration, like a class
    *,
    help: str,  # noqa: A002
    default: Any = MISSING,
    choices: Sequence[str] = (),
    complete: str = "",
) -> Any:
    """Declare a positional argument.

    Args:
        help: One sentence for `--help`.
        default: Makes the argument optional. With the annotation `list[T]` the argument takes all
            the remaining words.
        choices: The allowed texts, if the type does not define them (Enum and Literal do).
        complete: Import string of the function that knows the names for the tab key:
            "app.users:usernames". Other texts are allowed too.
    """
    return Field(Kind.ARGUMENT, help=help, default=default, choices=choices, complete=complete)


def Option(  # noqa: N802
    *,
    help: str,  # noqa: A002
    default: Any = MISSING,
    short: str = "",
    choices: Sequence[str] = (),
    complete: str = "",
) -> Any:
    """Declare an option with a value: `--limit 50` or `--limit=50`.

    Args:
        help: One sentence for `--help`.
        default: Without a default the option is required. With the annotation `list[T]` the option
            may be repeated.
        short: One letter: `short="l"` allows `-l 50`.
        choices: The allowed texts, if the type does not define them.
        complete: As in `Argument`.
    """
    return Field(
        Kind.OPTION, help=help, default=default, short=short, choices=choices, complete=complete
    )


def Flag(*, help: str, default: bool = False, short: str = "") -> Any:  # noqa: A002, N802
    """Declare a switch that is off unless given.

    Args:
        help: One sentence for `--help`.
        default: Always False. It tells type checkers that the flag is optional in code.
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
    """Declare a secret. Annotate it with `SecretStr`.

    The value comes from the first of these: standard input with `--NAME-stdin`, a generated value
    with `--generate-NAME`, the environment variable `env`, a prompt without echo on the terminal.
    It is masked in everything that is printed, logged or recorded.

    Args:
        help: One sentence for `--help`.
        env: The environment variable that may contain the secret.
        default: `None` makes the secret optional; then no prompt asks for it.
        confirm: Whether the prompt asks twice and compares.
        generate: Whether to allow `--generate-NAME`. The command shows the value with
            `Result.show_once`.
    """
    return Field(
        Kind.SECRET, help=help, env=env, default=default, confirm=confirm, generate=generate
    )


class SecretStr:
    """A string that is not shown by repr, str, logs, tracebacks or records.

    Args:
        value: The secret.

    Attributes:
        generated: Whether `--generate-NAME` generated it, so the operator has not seen it yet.
    """

    __slots__ = ("_value", "generated")

    def __init__(self, value: str, *, generated: bool = False) -> None:
        self._value = value
        self.generated = generated

    def reveal(self) -> str:
        """Return the secret itself. Keep it out of messages."""
        return self._value

    def __repr__(self) -> str:
        return "SecretStr('**********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class SecretSource(Enum):
    """Where the command line says to read a secret from. It is read before the run starts."""

    NOT_GIVEN = "not given"
    STDIN = "stdin"
    GENERATE = "generate"
