"""Split a command line into tokens: options with their values, and words.

The table of a command's options says which of them takes a value. There are no abbreviations. A
value that looks like an option must be attached, as in `--name=-x`.
"""

from __future__ import annotations

import re
from enum import Enum

from oneoff.core.arguments import Field, Kind, SecretSource
from oneoff.core.conversion import shape_of
from oneoff.core.options import REPEATED, options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from oneoff.core.command import BaseCommand

_NEGATIVE = re.compile(r"-(\d|\.\d)")


class Takes(Enum):
    """How an option gets its value."""

    NOTHING = "nothing"
    VALUE = "value"
    ATTACHED = "attached"
    """The value is optional, and must be written as `--name=VALUE`."""


class OptionSpec:
    """One spelling of an option.

    Attributes:
        spelling: The long form for messages: `--limit`, also for `-l`.
        name: The name of the command's input, or the attribute of `GlobalOptions`.
        takes: How the option gets its value.
        constant: The value if none is given.
        repeats: Whether the option may be given more than once.
        is_global: Whether it is a global option.
        is_secret: Whether it is refused, because its value would be a secret on the command line.
    """

    __slots__ = ("constant", "is_global", "is_secret", "name", "repeats", "spelling", "takes")

    def __init__(
        self,
        spelling: str,
        name: str,
        takes: Takes,
        *,
        constant: Any = True,
        repeats: bool = False,
        is_global: bool = False,
        is_secret: bool = False,
    ) -> None:
        self.spelling = spelling
        self.name = name
        self.takes = takes
        self.constant = constant
        self.repeats = repeats
        self.is_global = is_global
        self.is_secret = is_secret


class Token:
    """One option or word of the line.

    Attributes:
        spelling: The option as typed, without its value; empty for a word.
        value: The word, or the option's value; None if the option has none.
        at: Index of the word that contains the value, or of the option if it has no value.
    """

    __slots__ = ("at", "spelling", "value")

    def __init__(self, spelling: str, value: str | None, at: int) -> None:
        self.spelling = spelling
        self.value = value
        self.at = at


def options_by_spelling(command: type[BaseCommand]) -> dict[str, OptionSpec]:
    """Return all options of a command by spelling, including the short forms.

    Short and long form have the same `OptionSpec`.
    """
    table: dict[str, OptionSpec] = {}
    for option in options_of(command):
        takes = Takes.ATTACHED if option.equals_only else Takes.VALUE
        spec = OptionSpec(
            option.spelling,
            option.name,
            Takes.NOTHING if option.is_flag else takes,
            repeats=option.name in REPEATED,
            is_global=True,
        )
        table[spec.spelling] = spec
        if option.short:
            table[f"-{option.short}"] = spec
    for field in command.fields().values():
        table |= {spec.spelling: spec for spec in _field_options(field)}
        if field.short:
            table[f"-{field.short}"] = table[field.spelling]
    return table


def stdin_spelling(field: Field) -> str:
    """Return the flag that reads a secret from standard input."""
    return f"{field.spelling}-stdin"


def generate_spelling(field: Field) -> str:
    """Return the flag that generates a secret."""
    return f"--generate-{field.spelling[2:]}"


def _field_options(field: Field) -> Iterator[OptionSpec]:
    if field.kind is Kind.OPTION:
        many = shape_of(field.annotation).many
        yield OptionSpec(field.spelling, field.name, Takes.VALUE, repeats=many)
    elif field.kind is Kind.FLAG:
        yield OptionSpec(field.spelling, field.name, Takes.NOTHING)
    elif field.kind is Kind.SECRET:
        yield OptionSpec(field.spelling, field.name, Takes.VALUE, is_secret=True)
        stdin = stdin_spelling(field)
        yield OptionSpec(stdin, field.name, Takes.NOTHING, constant=SecretSource.STDIN)
        if field.generate:
            generate = generate_spelling(field)
            yield OptionSpec(generate, field.name, Takes.NOTHING, constant=SecretSource.GENERATE)


def tokens(words: Sequence[str], table: Mapping[str, Takes]) -> Iterator[Token]:
    """Yield the options and words of a line, in order.

    Args:
        words: The words after the command's name.
        table: How each option gets its value, by spelling. An unknown option takes none.
    """
    queue = iter(enumerate(words))
    for at, word in queue:
        if word == "--":
            yield from (Token("", rest, index) for index, rest in queue)
        elif not _is_option(word):
            yield Token("", word, at)
        else:
            yield from _options(word, at, words, table, queue)


def _options(
    word: str,
    at: int,
    words: Sequence[str],
    table: Mapping[str, Takes],
    queue: Iterator[tuple[int, str]],
) -> Iterator[Token]:
    """Yield the option in a word, or the options of a bundle like `-vq`."""
    for spelling, attached in _split(word, table):
        following = words[at + 1] if at + 1 < len(words) else "--"
        if attached is None and table.get(spelling) is Takes.VALUE and not _is_option(following):
            next(queue)
            yield Token(spelling, following, at + 1)
        else:
            yield Token(spelling, attached, at)


def _split(word: str, table: Mapping[str, Takes]) -> Iterator[tuple[str, str | None]]:
    if word.startswith("--"):
        spelling, equals, value = word.partition("=")
        yield spelling, value if equals else None
        return
    letters = word[1:]
    for count, letter in enumerate(letters, start=1):
        spelling, rest = f"-{letter}", letters[count:]
        if rest and table.get(spelling) is Takes.VALUE:
            yield spelling, rest.removeprefix("=")
            return
        yield spelling, None
        if spelling not in table:
            return


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-" and not _NEGATIVE.match(word)
