"""Read the secrets that a command declares; never from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from oneoff.core.arguments import Field, Kind, SecretSource, SecretStr
from oneoff.core.errors import UsageError

if TYPE_CHECKING:
    from oneoff.core.command import BaseCommand
    from oneoff.runtime.terminal import Terminal
    from oneoff.utils.redaction import Redactor

# 144 bits, which is 24 characters: impossible to guess, and short enough to copy once.
_GENERATED_BYTES = 18


async def resolve(
    command: BaseCommand,
    terminal: Terminal,
    environ: Mapping[str, str],
    redactor: Redactor,
    *,
    interactive: bool,
) -> None:
    """Replace the source of each secret by its value, a `SecretStr`.

    Raises:
        UsageError: A secret is missing and there is no terminal to ask at, or an input is not
            valid.
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
        secret = await _fetch(field, getattr(command, field.name), terminal, environ, interactive)
        if secret is not None:
            redactor.add(secret.reveal())
        setattr(command, field.name, secret)


async def _fetch(
    field: Field,
    source: SecretSource,
    terminal: Terminal,
    environ: Mapping[str, str],
    interactive: bool,  # noqa: FBT001 - passed on from the keyword of resolve
) -> SecretStr | None:
    if source is SecretSource.GENERATE:
        from secrets import token_urlsafe  # the standard library's module, not this one

        return SecretStr(token_urlsafe(_GENERATED_BYTES), generated=True)
    if source is SecretSource.STDIN:
        text = (await terminal.read_all()).removesuffix("\n").removesuffix("\r")
        return _checked(field, text, f"{field.spelling}-stdin got nothing on standard input")
    if environ.get(field.env):
        return SecretStr(environ[field.env])
    if not field.required:
        return None
    if not interactive:
        raise UsageError(
            f"{field.spelling} is missing, and there is no terminal to ask at",
            try_=_ways_to_pass(field),
        )
    return await _ask(field, terminal)


async def _ask(field: Field, terminal: Terminal) -> SecretStr:
    label = field.name.replace("_", " ").capitalize()
    text = await terminal.ask_secret(f"{label}: ")
    secret = _checked(field, text or "", f"no {field.name} was entered")
    if field.confirm and await terminal.ask_secret(f"{label} (again): ") != text:
        raise UsageError(f"the two entries of {field.name} differ; nothing was changed")
    return secret


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
