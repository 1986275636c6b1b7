"""A secret comes from anywhere but the command line."""

from __future__ import annotations

from typing import Any

import pytest

from oneoff.core.arguments import Secret, SecretSource, SecretStr
from oneoff.core.command import BaseCommand
from oneoff.core.errors import UsageError
from oneoff.core.result import Result
from oneoff.runtime.secrets import resolve
from oneoff.testing import MemoryTerminal
from oneoff.utils.redaction import Redactor


class Login(BaseCommand):
    """Log in."""

    password: SecretStr = Secret(env="LOGIN_PASSWORD", help="Yours.", confirm=True, generate=True)

    async def handle(self) -> Result:
        return Result.unchanged("in")


class Maybe(BaseCommand):
    """Log in, or not."""

    token: SecretStr | None = Secret(env="MAYBE_TOKEN", help="If any.", default=None)

    async def handle(self) -> Result:
        return Result.unchanged("in")


def login(source: SecretSource = SecretSource.NOT_GIVEN) -> Login:
    """Build the command as the parser does: it knows where the secret is, not the secret."""
    values: dict[str, Any] = {"password": source}
    return Login(**values)


async def resolved(
    command: BaseCommand, terminal: MemoryTerminal, environ: dict[str, str] | None = None
) -> Redactor:
    """Fetch the command's secrets, and return what has learnt them."""
    redactor = Redactor()
    await resolve(command, terminal, environ or {}, redactor, interactive=terminal.interactive)
    return redactor


async def test_standard_input_gives_the_secret_without_its_line_end() -> None:
    """`printf` and `echo` mean the same password; inner blanks belong to it."""
    command = login(SecretSource.STDIN)

    await resolved(command, MemoryTerminal(stdin=" two words \n"))

    assert " two words " == command.password.reveal()


async def test_the_environment_gives_the_secret() -> None:
    """Nobody is asked then, terminal or not."""
    command = login()

    await resolved(command, MemoryTerminal(answers=[]), {"LOGIN_PASSWORD": "from-env"})

    assert "from-env" == command.password.reveal()


async def test_a_person_is_asked_twice() -> None:
    """A mistyped password would lock them out."""
    command = login()

    await resolved(command, MemoryTerminal(answers=["correct horse", "correct horse"]))

    assert "correct horse" == command.password.reveal()


async def test_two_different_entries_are_refused() -> None:
    """And neither is shown."""
    terminal = MemoryTerminal(answers=["correct horse", "correct house"])

    with pytest.raises(UsageError) as caught:
        await resolved(login(), terminal)

    assert "the two entries of password differ; nothing was changed" == caught.value.message


async def test_a_made_up_secret_is_long_and_new_each_time() -> None:
    """144 bits, and marked as one nobody has seen."""
    first, second = login(SecretSource.GENERATE), login(SecretSource.GENERATE)

    await resolved(first, MemoryTerminal())
    await resolved(second, MemoryTerminal())

    assert first.password != second.password
    assert (24, True) == (len(first.password.reveal()), first.password.generated)


async def test_nobody_to_ask_is_a_usage_error_that_names_every_way() -> None:
    """Never a hang on a prompt nobody sees."""
    with pytest.raises(UsageError) as caught:
        await resolved(login(), MemoryTerminal())

    assert (
        "generate it with --generate-password",
        "pass it on standard input with --password-stdin",
        "or set the environment variable LOGIN_PASSWORD",
    ) == caught.value.try_


async def test_an_empty_secret_is_refused() -> None:
    """An unset shell variable piped in must not become a password."""
    with pytest.raises(UsageError, match="got nothing on standard input"):
        await resolved(login(SecretSource.STDIN), MemoryTerminal(stdin="\n"))


async def test_an_optional_secret_is_never_asked_for() -> None:
    """None is a right value then; the environment may still give one."""
    without, given = Maybe(), Maybe()

    await resolved(without, MemoryTerminal(answers=["never read"]))
    await resolved(given, MemoryTerminal(), {"MAYBE_TOKEN": "t0ken-value"})

    assert (None, SecretStr("t0ken-value")) == (without.token, given.token)


async def test_whatever_was_read_is_masked_from_then_on() -> None:
    """In any text, whoever writes it."""
    redactor = await resolved(login(SecretSource.STDIN), MemoryTerminal(stdin="correct horse"))

    assert "password was ***" == redactor.text("password was correct horse")


def test_a_secret_does_not_show_itself() -> None:
    """Not in repr, not in an f-string, not in a traceback's locals."""
    secret = SecretStr("hunter2hunter2")

    assert "SecretStr('**********')" == repr(secret) == str(secret) == f"{secret}"
