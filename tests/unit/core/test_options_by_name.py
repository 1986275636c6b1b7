"""Global options that are given by name, as `call_command` takes them."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import pytest

from oneoff import Access, BaseCommand, DryRun, Option, Result, UsageError
from oneoff.core.parsing import parse


class Writer(BaseCommand):
    """Write something."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    lock = "writing"
    examples = ("writer",)

    def handle(self) -> Result:
        """Do nothing."""
        return Result.unchanged("done")


def test_a_duration_may_be_zero() -> None:
    """0 is a value, unlike None, False and an empty text: `lock_wait=0` tries once."""
    given = {"lock_wait": 0, "timeout": 1.5, "reason": "", "ticket": None, "dry_run": False}

    options = parse(Writer, [], given=given).options

    assert (0.0, 1.5) == (options.lock_wait, options.timeout)
    assert ("", "", False) == (options.reason, options.ticket, options.dry_run)


@pytest.mark.parametrize("given", [{"lock_wait": True}, {"dry_run": 1}, {"dry_run": 0}])
def test_an_option_has_its_own_type(given: dict[str, object]) -> None:
    """A number is not a flag, and a flag is not a duration."""
    with pytest.raises(UsageError, match=r"must be (a text|True or False)"):
        parse(Writer, [], given=given)


class Level(IntEnum):
    """A member that is false."""

    OFF = 0
    ON = 1


class Chooser(BaseCommand):
    """Choose something."""

    examples = ("chooser",)

    level: Level = Option(default=Level.ON, help="A member.")
    size: Literal[0, 1] = Option(default=1, help="A number.")

    def handle(self) -> Result:
        """Do nothing."""
        return Result.unchanged("done")


def test_code_may_give_a_choice_by_its_value() -> None:
    """0 is one of the choices."""
    command = parse(Chooser, [], given={"level": 0, "size": 0}).command

    assert isinstance(command, Chooser)
    assert (Level.OFF, 0) == (command.level, command.size)


def test_code_can_not_give_a_value_that_is_no_choice() -> None:
    """Of a member or of a literal."""
    with pytest.raises(UsageError, match="--level '2' is not one of 0, 1"):
        parse(Chooser, [], given={"level": 2})
    with pytest.raises(UsageError, match="--size '2' is not one of 0, 1"):
        parse(Chooser, [], given={"size": 2})
