"""Global options that are given by name, as `call_command` takes them."""

from __future__ import annotations

import pytest

from oneoff import Access, BaseCommand, DryRun, Result, UsageError
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
