"""Secrets are never read from the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from oneoff.core.arguments import Secret, SecretSource, SecretStr
from oneoff.core.command import BaseCommand
from oneoff.core.errors import DataError, UsageError
from oneoff.core.result import Result
from oneoff.runtime.secrets import resolve
from oneoff.testing import MemoryTerminal
from oneoff.utils.redaction import Redactor

MIN_LENGTH = 8


class Login(BaseCommand):
    """Log in."""

    password: SecretStr = Secret(env="LOGIN_PASSWORD", help="Yours.", confirm=True, generate=True)

    async def handle(self) -> Result:
        return Result.unchanged("in")


class Careful(Login):
    """Log in with a long password."""

    def check_secret(self, name: str, secret: SecretStr, settings: Callable[[], int]) -> None:
        if len(secret.reveal()) < settings():
            raise DataError(f"the {name} is too short")


class Maybe(BaseCommand):
    """Log in, or not."""

    token: SecretStr | None = Secret(env="MAYBE_TOKEN", help="If any.", default=None)

    async def handle(self) -> Result:
        return Result.unchanged("in")


def login(source: SecretSource = SecretSource.NOT_GIVEN, of: type[Login] = Login) -> Login:
    """Build the command as the parser does, with the source of the secret."""
    values: dict[str, Any] = {"password": source}
    return of(**values)


async def resolved(
    command: BaseCommand, terminal: MemoryTerminal, environ: dict[str, str] | None = None
) -> Redactor:
    """Fetch the command's secrets, and return the redactor that knows them."""
    redactor = Redactor()
    await resolve(
        command,
        terminal,
        environ or {},
        redactor,
        interactive=terminal.interactive,
        settings=lambda: MIN_LENGTH,
    )
    return redactor


async def test_a_secret_on_standard_input_is_read_without_its_line_end() -> None:
    """`printf` and `echo` give the same password; spaces are part of it."""
    command = login(SecretSource.STDIN)

    await resolved(command, MemoryTerminal(stdin=" two words \n"))

    assert " two words " == command.password.reveal()


async def test_a_secret_is_read_from_the_environment() -> None:
    """There is no prompt then, even at a terminal."""
    command = login()

    await resolved(command, MemoryTerminal(answers=[]), {"LOGIN_PASSWORD": "from-env"})

    assert "from-env" == command.password.reveal()


async def test_the_operator_is_asked_twice() -> None:
    """A typing error in the password would lock the user out."""
    command = login()

    await resolved(command, MemoryTerminal(answers=["correct horse", "correct horse"]))

    assert "correct horse" == command.password.reveal()


async def test_two_different_entries_are_refused() -> None:
    """Neither of them is shown."""
    terminal = MemoryTerminal(answers=["correct horse", "correct house"])

    with pytest.raises(UsageError) as caught:
        await resolved(login(), terminal)

    assert "the two entries of password differ" == caught.value.message


async def test_a_generated_secret_is_long_and_new_each_time() -> None:
    """It has 144 bits, and is marked as generated."""
    first, second = login(SecretSource.GENERATE), login(SecretSource.GENERATE)

    await resolved(first, MemoryTerminal())
    await resolved(second, MemoryTerminal())

    assert first.password != second.password
    assert (24, True) == (len(first.password.reveal()), first.password.generated)


async def test_a_missing_secret_without_terminal_is_an_error_that_names_all_ways() -> None:
    """The command must not wait at an invisible prompt."""
    with pytest.raises(UsageError) as caught:
        await resolved(login(), MemoryTerminal())

    assert (
        "generate it with --generate-password",
        "pass it on standard input with --password-stdin",
        "or set the environment variable LOGIN_PASSWORD",
    ) == caught.value.try_


async def test_an_empty_secret_is_refused() -> None:
    """An unset shell variable that is piped in must not become a password."""
    with pytest.raises(UsageError, match="got nothing on standard input"):
        await resolved(login(SecretSource.STDIN), MemoryTerminal(stdin="\n"))


async def test_an_optional_secret_is_never_asked_for() -> None:
    """Its value may be None; the environment may contain one."""
    without, given = Maybe(), Maybe()

    await resolved(without, MemoryTerminal(answers=["never read"]))
    await resolved(given, MemoryTerminal(), {"MAYBE_TOKEN": "t0ken-value"})

    assert (None, SecretStr("t0ken-value")) == (without.token, given.token)


async def test_a_secret_is_masked_after_it_was_read() -> None:
    """It is masked in any text."""
    redactor = await resolved(login(SecretSource.STDIN), MemoryTerminal(stdin="correct horse"))

    assert "password was ***" == redactor.text("password was correct horse")


def test_a_secret_does_not_show_itself() -> None:
    """Not in repr, not in an f-string, not in a traceback's locals."""
    secret = SecretStr("hunter2hunter2")

    assert "SecretStr('**********')" == repr(secret) == str(secret) == f"{secret}"


async def test_a_secret_that_cannot_be_used_is_asked_for_again() -> None:
    """Too short, empty, or typed differently the second time. Then the run continues."""
    command = login(of=Careful)
    terminal = MemoryTerminal(
        answers=["short", "long enough", "long enouhg", "correct h", "correct h"]
    )

    await resolved(command, terminal)

    assert "correct h" == command.password.reveal()
    assert (
        "Password: \nthe password is too short; please try again\n"
        "Password: \nPassword (again): \nthe two entries of password differ; please try again\n"
        "Password: \nPassword (again): \n"
    ) == terminal.stderr.getvalue()


async def test_a_third_secret_that_cannot_be_used_ends_the_run() -> None:
    """Nobody is asked without end."""
    terminal = MemoryTerminal(answers=["a", "b", "c", "long enough", "long enough"])

    with pytest.raises(DataError, match="the password is too short"):
        await resolved(login(of=Careful), terminal)


@pytest.mark.parametrize("source", [SecretSource.STDIN, SecretSource.NOT_GIVEN])
async def test_a_secret_that_was_passed_in_another_way_is_checked_once(
    source: SecretSource,
) -> None:
    """There is nobody to ask, even at a terminal."""
    environ = {"LOGIN_PASSWORD": "short"} if source is SecretSource.NOT_GIVEN else {}

    with pytest.raises(DataError, match="the password is too short"):
        await resolved(
            login(source, of=Careful), MemoryTerminal("short\n", ["long enough"]), environ
        )
