"""Parse the words after a command's name into its inputs and the global options.

All problems of a line are reported together. Secrets on the command line are refused, and
the error does not repeat them.
"""

from __future__ import annotations

from oneoff.core.arguments import Field, Kind
from oneoff.core.conversion import duration_hint, parse_duration, shape_of
from oneoff.core.errors import UsageError
from oneoff.core.options import AS, COUNTED, FIELDS, FORMS, OPTIONS, WAIVE, GlobalOptions
from oneoff.core.tokens import (
    OptionSpec,
    Takes,
    Token,
    generate_spelling,
    options_by_spelling,
    stdin_spelling,
    tokens,
)
from oneoff.utils.suggestions import similar_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from oneoff.core.command import BaseCommand
    from oneoff.core.options import GlobalOption

MASK = "***"  # as in oneoff.utils.redaction, which costs too much to import at every start
DURATIONS = frozenset("timeout lock_wait statement_timeout lock_timeout idle_timeout".split())


class Parsed:
    """A command line without errors.

    Attributes:
        values: The inputs as given: strings, True for a flag, a SecretSource for a secret.
        options: The global options.
        command: The command, created from the values; None if help was requested.
    """

    __slots__ = ("command", "options", "values")

    def __init__(
        self, values: dict[str, Any], options: GlobalOptions, command: BaseCommand | None
    ) -> None:
        self.values = values
        self.options = options
        self.command = command


def parse(
    command: type[BaseCommand],
    words: Sequence[str],
    name: str = "",
    given: Mapping[str, Any] | None = None,
) -> Parsed:
    """Parse the words after a command's name.

    With `--help` nothing else on the line is checked.

    Args:
        command: The command class.
        words: The words as typed. Global options may be anywhere among them.
        name: The command's name for messages; by default it is made from its module.
        given: Inputs and global options by name, as `call_command` takes them. An input or option
            may be given as words or by name, not both.

    Raises:
        UsageError: The line is wrong; it contains all problems.
    """
    line = _Line(command, name or _name_of(command))
    for token in tokens(words, line.takes(words)):
        line.add(token)
    if line.options.help:
        return Parsed({}, line.options, None)
    line.assign_words()
    line.add_given(given or {})
    return Parsed(line.values, line.options, line.build())


def scrub_argv(command: type[BaseCommand], words: Sequence[str]) -> list[str]:
    """Return the words for the record, with the values of secret-looking names masked."""
    line = _Line(command, "")
    scrubbed = list(words)
    arguments = line.argument_names()
    for token in tokens(words, line.takes(words)):
        if token.value is not None:
            spec = line.table.get(token.spelling)
            name = spec.name if spec else token.spelling or next(arguments, "")
            scrubbed[token.at] = _scrubbed(words[token.at], token, name)
    return scrubbed


class _Line:
    """Collects what has been read of one command line: values, options and problems."""

    def __init__(self, command: type[BaseCommand], name: str) -> None:
        self.command = command
        self.name = name
        self.table = options_by_spelling(command)
        self.values: dict[str, Any] = {}
        self.options = GlobalOptions()
        self._given: dict[str, str] = {}
        self._words: list[Token] = []
        self._unknown_at: set[int] = set()
        self._problems: list[str] = []
        self._secrets: list[str] = []
        self._unusable: set[str] = set()
        self._refusal: UsageError | None = None

    def takes(self, words: Sequence[str]) -> dict[str, Takes]:
        """Return how each option gets its value; for a misspelt option this is a guess.

        Without the guess, the value of a misspelt option would be reported as a second problem.
        """
        takes = {spelling: spec.takes for spelling, spec in self.table.items()}
        for spelling in {word.partition("=")[0] for word in words} - takes.keys():
            if spelling.startswith("--") and spelling != "--":
                takes[spelling] = self._guess_takes(spelling)
        return takes

    def _guess_takes(self, spelling: str) -> Takes:
        if _looks_secret(spelling):
            return Takes.VALUE
        absent = next((option for option in OPTIONS if option.spelling == spelling), None)
        if absent:
            return Takes.VALUE if absent.metavar and not absent.equals_only else Takes.NOTHING
        near = similar_option(spelling, list(self.table))
        return self.table[near].takes if near else Takes.NOTHING

    def add(self, token: Token) -> None:
        """Add one option or word."""
        if not token.spelling:
            self._words.append(token)
            return
        spec = self.table.get(token.spelling)
        if spec is None:
            self._refuse_unknown(token)
        elif spec.is_secret:
            self._secrets.append(self._secret_advice(spec))
        else:
            self._accept(spec, token)

    def _accept(self, spec: OptionSpec, token: Token) -> None:
        problem = self._problem_with(spec, token)
        if problem:
            self._problems.append(problem)
            self._unusable.add(spec.name)
            return
        self._given[spec.name] = spec.spelling
        value = spec.constant if token.value is None else token.value
        if spec.is_global:
            self._set_option(spec, value)
        elif spec.repeats:
            self.values.setdefault(spec.name, []).append(value)
        else:
            self.values[spec.name] = value

    def _problem_with(self, spec: OptionSpec, token: Token) -> str:
        before = self._given.get(spec.name)
        if before and before != spec.spelling:
            return f"{before} and {spec.spelling} can't be used together"
        if before and not spec.repeats and spec.takes is not Takes.NOTHING:
            return f"{spec.spelling} is given twice"
        if token.value is None and spec.takes is Takes.VALUE:
            return (
                f"{token.spelling} needs a value (if it starts with -, write {spec.spelling}=VALUE)"
            )
        if token.value is not None and spec.takes is Takes.NOTHING:
            return f"{token.spelling} takes no value"
        return ""

    def _set_option(self, spec: OptionSpec, value: Any) -> None:
        if spec.name == COUNTED:
            value = self.options.verbose + 1
        elif spec.name == WAIVE:
            check, _, reason = value.partition("=")
            if not check.strip() or not reason.strip():
                self._problems.append(f"{spec.spelling} {value!r} is not CHECK=REASON")
                return
            value = {**self.options.waive, check.strip(): reason.strip()}
        elif spec.name in (AS, FIELDS):
            value = self._about_rows(spec, value)
        elif spec.name in DURATIONS:
            try:
                value = parse_duration(value).total_seconds()
            except ValueError:
                self._problems.append(
                    f"{spec.spelling} {value!r} is not a duration such as 90s, 5m or 1h30m"
                    + duration_hint(value)
                )
                return
        setattr(self.options, spec.name, value)

    def _about_rows(self, spec: OptionSpec, value: str) -> str | tuple[str, ...]:
        if spec.name == AS:
            if value not in FORMS:
                self._problems.append(f"{spec.spelling} {value!r} is not one of {', '.join(FORMS)}")
            return value
        names = tuple(filter(None, map(str.strip, value.split(","))))
        if not names:
            self._problems.append(f"{spec.spelling} names no field")
        return names

    def add_given(self, given: Mapping[str, Any]) -> None:
        """Add inputs and global options that are given by name, after the words."""
        for name, value in given.items():
            option = next((option for option in OPTIONS if option.name == name), None)
            if name in self._given or name in self.values:
                self._problems.append(f"{name} is given twice")
            elif option is None:
                self.values[name] = value
            elif value is not None and value is not False and value != "":
                # 0 is a value: lock_wait=0 tries once.
                self._add_given_option(option, value)

    def _add_given_option(self, option: GlobalOption, value: Any) -> None:
        spec = self.table.get(option.spelling)
        if spec is None:
            self._problems.append(self._why_absent(option))
        elif option.is_flag and value is not True:
            self._problems.append(f"{option.name} must be True or False, not {value!r}")
        elif option.is_flag or isinstance(value, str) or (option.equals_only and value is True):
            self._set_option(spec, value)
        elif option.name == WAIVE and isinstance(value, list | tuple):
            for one in value:
                self._add_given_option(option, one)
        elif option.name in DURATIONS and isinstance(value, int | float) and value is not True:
            setattr(self.options, option.name, float(value))  # seconds
        else:
            self._problems.append(f"{option.name} must be a text, not {value!r}")

    def _why_absent(self, option: GlobalOption) -> str:
        why = option.why_missing(self.command)
        return f"{self.name} {why}, so it has no {option.spelling}"

    def _refuse_unknown(self, token: Token) -> None:
        self._unknown_at.add(token.at)
        absent = next((option for option in OPTIONS if option.spelling == token.spelling), None)
        if absent:
            self._problems.append(self._why_absent(absent))
            return
        near = similar_option(token.spelling, list(self.table))
        if near and self.table[near].is_secret:
            near = f"{near}-stdin"
        problem = f"{self.name} has no option {token.spelling}"
        problem += f"; did you mean {near}?" if near else ""
        secret = _looks_secret(token.spelling) and token.value is not None
        (self._secrets if secret else self._problems).append(problem)

    def _secret_advice(self, spec: OptionSpec) -> str:
        field = self.command.fields()[spec.name]
        ways = [f"pipe it in with {stdin_spelling(field)}", f"set {field.env} in the environment"]
        if field.generate:
            ways.append(f"generate one with {generate_spelling(field)}")
        return (
            f"{spec.spelling} is not accepted on the command line, where other users and the "
            f"shell's history can see it; {', '.join(ways)}, or enter it at the prompt"
        )

    def argument_names(self) -> Iterator[str]:
        """Yield, for each word in order, the name of the argument it belongs to."""
        for field in self._arguments():
            yield field.name
            while shape_of(field.annotation).many:
                yield field.name

    def _arguments(self) -> list[Field]:
        fields = self.command.fields().values()
        return [field for field in fields if field.kind is Kind.ARGUMENT]

    def assign_words(self) -> None:
        """Assign each word to the next argument; `list[T]` takes all the remaining words."""
        words = [token.value or "" for token in self._words_to_assign()]
        for field in self._arguments():
            if not words:
                break
            if shape_of(field.annotation).many:
                self.values[field.name], words = words, []
            else:
                self.values[field.name], *words = words
        for word in words:
            spelling = word.partition("=")[0]
            if spelling in self.table:  # after `--`; the words after it may be its value
                self._problems.append(f"{spelling} is an option, so it must come before --")
                break
            self._problems.append(f"unexpected argument {word!r}{self._hint_for(word)}")

    def _words_to_assign(self) -> list[Token]:
        """Return the words, without extra ones that are probably the values of unknown options.

        The unknown options have already been reported.
        """
        arguments = self._arguments()
        if any(shape_of(field.annotation).many for field in arguments):
            return self._words
        surplus = max(len(self._words) - len(arguments), 0)
        suspects = [token for token in self._words if token.at - 1 in self._unknown_at][:surplus]
        return [token for token in self._words if token not in suspects]

    def _hint_for(self, word: str) -> str:
        if self.options.confirm is True and "@" in word:
            return f"; write the target as --confirm={word}"
        return ""

    def build(self) -> BaseCommand:
        """Create the command.

        Raises:
            UsageError: The line or the values are wrong; it contains all problems. If the line
                contains a secret, only this is reported, because other words may be parts of it.
        """
        command, problems = self._construct()
        problems = self._secrets or [*self._problems, *problems]
        if self._refusal and problems == list(self._refusal.problems):
            raise self._refusal
        if problems or command is None:
            raise UsageError(problems, try_=f"python manage.py {self.name} --help")
        return command

    def _construct(self) -> tuple[BaseCommand | None, list[str]]:
        try:
            return self.command(**self.values), []
        except UsageError as exc:
            # An error with its own code has its own advice.
            self._refusal = exc if exc.code != UsageError.code else None
            reported = tuple(
                f"{field.spelling} is missing"
                for field in self.command.fields().values()
                if field.name in self._unusable
            )
            return None, [problem for problem in exc.problems if not problem.startswith(reported)]


def _name_of(command: type[BaseCommand]) -> str:
    _, _, path = f".{command.__module__}".partition(".commands.")
    return (path or command.__name__.lower()).replace(".", " ").replace("_", "-")


def _looks_secret(spelling: str) -> bool:
    from oneoff.utils.redaction import is_secret_name

    return is_secret_name(spelling)


def _scrubbed(word: str, token: Token, name: str) -> str:
    from oneoff.utils.redaction import Redactor

    if not _looks_secret(name):
        return Redactor().word(word)
    return word.removesuffix(token.value or "") + MASK
