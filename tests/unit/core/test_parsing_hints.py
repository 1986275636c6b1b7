"""The parser's hints for a line that is almost correct."""

from __future__ import annotations

from datetime import timedelta

import pytest

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Option, Result, UsageError
from oneoff.core.parsing import parse


class Remind(BaseCommand):
    """Remind somebody."""

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK

    email: str = Argument(help="Whom.")
    after: timedelta | None = Option(default=None, help="When.")

    async def handle(self) -> Result:
        return Result.changed("reminded")


def problems_of(line: str) -> list[str]:
    """Return what the usage error lists."""
    with pytest.raises(UsageError) as caught:
        parse(Remind, line.split(), "remind")
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("ada --timeout 5", "write 5s for seconds, 5m for minutes"),
        ("ada --after 1.5", "write 1.5s for seconds, 1.5m for minutes"),
    ],
)
def test_a_duration_without_a_unit_gets_a_hint(line: str, hint: str) -> None:
    """For options of the framework and of the command."""
    (problem,) = problems_of(line)

    assert problem.endswith(f"5m or 1h30m: it has no unit; {hint}")


def test_another_wrong_duration_gets_no_hint() -> None:
    """A unit would not correct it."""
    assert ["--after 'soon' is not a duration such as 90d, 24h, 5m or 1h30m"] == problems_of(
        "ada --after soon"
    )


@pytest.mark.parametrize("line", ["ada --mode 3", "--mode 3 ada", "ada --mode=3"])
def test_the_value_of_an_unknown_option_is_not_a_second_problem(line: str) -> None:
    """If the line has a surplus word, the word after the option is its value."""
    assert ["remind has no option --mode"] == problems_of(line)


def test_a_word_after_an_unknown_option_may_be_an_argument() -> None:
    """The unknown option may be a flag, so the argument is not reported as missing."""
    assert ["remind has no option --mode"] == problems_of("--mode ada")


def test_a_surplus_word_elsewhere_is_still_reported() -> None:
    """It is not the value of an option."""
    assert ["remind has no option --mode", "unexpected argument 'extra'"] == problems_of(
        "ada extra --mode"
    )


@pytest.mark.parametrize("word", ["--dry-run", "--confirm=shop@production", "-v"])
def test_an_option_after_two_dashes_is_explained(word: str) -> None:
    """It is reported once, without its value and the words after it."""
    spelling = word.partition("=")[0]

    assert [f"{spelling} is an option, so it must come before --"] == problems_of(
        f"-- ada {word} more"
    )
