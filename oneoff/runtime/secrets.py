"""Read the secrets that a command declares; never from the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from oneoff.core.arguments import Field, Kind, SecretSource, SecretStr
from oneoff.core.errors import CommandError, UsageError

if TYPE_CHECKING:
    from oneoff.core.command import BaseCommand
    from oneoff.runtime.terminal import Terminal
    from oneoff.utils.redaction import Redactor

_ATTEMPTS = 3  # at a prompt
# 144 bits, which is 24 characters: impossible to guess, and short enough to copy once.
_GENERATED_BYTES = 18


async def resolve(
    command: BaseCommand,
    terminal: Terminal,
    environ: Mapping[str, str],
    redactor: Redactor,
    *,
    interactive: bool,
    settings: Callable[[], Any],
) -> None:
    """Replace the source of each secret by its value, a `SecretStr`.

    Args:
        command: The command; its `check_secret` may refuse a value.
        terminal: Asks for secrets that are not passed in another way.
        environ: May contain secrets.
        redactor: Masks the secrets from now on.
        interactive: Whether the operator can be asked.
        settings: Returns the project's settings, for `check_secret`.

    Raises:
        UsageError: A secret is missing and there is no terminal to ask at, or an input is not
            valid.
        CommandError: The command refuses a value that was not entered at a prompt, or three that
            were.
    """
    pending = [
        field
        for field in type(command).fields().values()
        if field.kind is Kind.SECRET and isinstance(getattr(command, field.name), SecretSource)
    ]
    from_stdin = [f for f in pending if getattr(command, f.name) is SecretSource.STDIN]
    if len(from_stdin) > 1:
        flags = " and ".join(f"{field.spelling}-stdin" for field in from_stdin)
        raise UsageError(f"{flags} can't both read standard input")
    for field in pending:
        check = partial(command.check_secret, field.name, settings=settings)
        source = getattr(command, field.name)
        secret = await _passed(field, source, terminal, environ)
        if secret is not None:
            check(secret)
        elif field.required:
            if not interactive:
                raise UsageError(
                    f"{field.spelling} is missing, and there is no terminal to ask at",
                    try_=_ways_to_pass(field),
                )
            secret = await _ask(field, terminal, check)
        if secret is not None:
            redactor.add(secret.reveal())
        setattr(command, field.name, secret)


async def _passed(
    field: Field, source: SecretSource, terminal: Terminal, environ: Mapping[str, str]
) -> SecretStr | None:
    """Return a secret that was passed in another way than at a prompt, if any."""
    if source is SecretSource.GENERATE:
        from secrets import token_urlsafe  # the standard library's module, not this one

        return SecretStr(token_urlsafe(_GENERATED_BYTES), generated=True)
    if source is SecretSource.STDIN:
        text = (await terminal.read_all()).removesuffix("\n").removesuffix("\r")
        return _checked(field, text, f"{field.spelling}-stdin got nothing on standard input")
    return SecretStr(environ[field.env]) if environ.get(field.env) else None


async def _ask(field: Field, terminal: Terminal, check: Callable[[SecretStr], object]) -> SecretStr:
    """Ask until an entry can be used, at most three times."""
    label = field.name.replace("_", " ").capitalize()
    error: CommandError = UsageError(f"no {field.name} was entered", try_=_ways_to_pass(field))
    for attempt in range(_ATTEMPTS):
        if attempt:
            terminal.err(f"{error.message}; please try again\n")
        text = await terminal.ask_secret(f"{label}: ")
        if text is None:  # the end of the input
            break
        try:
            secret = _checked(field, text, f"no {field.name} was entered")
            check(secret)
            if field.confirm and await terminal.ask_secret(f"{label} (again): ") != text:
                raise UsageError(f"the two entries of {field.name} differ")
        except CommandError as exc:
            error = exc
        else:
            return secret
    raise error


def _checked(field: Field, text: str, empty: str) -> SecretStr:
    if not text:
        raise UsageError(empty, try_=_ways_to_pass(field))
    return SecretStr(text)


def _ways_to_pass(field: Field) -> list[str]:
    ways = [
        f"pass it on standard input with {field.spelling}-stdin",
        f"or set the environment variable {field.env}",
    ]
    if field.generate:
        ways.insert(0, f"generate it with --generate-{field.name.replace('_', '-')}")
    return ways
