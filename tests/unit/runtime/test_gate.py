"""The gate decides whether a run may start; a refusal names the command line to use."""

from __future__ import annotations

import pytest

from oneoff.core.command import BaseCommand
from oneoff.core.errors import ExitCode, Refused
from oneoff.core.options import GlobalOptions
from oneoff.core.policy import Access, Confirm, DryRun, Mode
from oneoff.core.result import Result
from oneoff.runtime.gate import Ask, check_answer, decide, mode_of
from oneoff.runtime.situation import Situation


class Look(BaseCommand):
    """Look at things."""

    async def handle(self) -> Result:
        return Result.unchanged("looked")


class Prompted(BaseCommand):
    """Change a thing."""

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK

    async def handle(self) -> Result:
        return Result.changed("changed")


class Typed(BaseCommand):
    """Drop every table."""

    access = Access.WRITE
    confirm = Confirm.TYPE_NAME
    dry_run = DryRun.PLAN

    async def handle(self) -> Result:
        return Result.changed("dropped")

    def consequence(self) -> str:
        return "drops every table in {target}"


class Limited(Prompted):
    """Change a thing in staging."""

    environments = frozenset({"staging"})


class Raised(Prompted):
    """Change a thing, or everything."""

    def confirm_level(self) -> Confirm:
        return Confirm.TYPE_NAME


class Lowered(Typed):
    """Try to ask for less than declared."""

    def confirm_level(self) -> Confirm:
        return Confirm.NEVER


def options(**given: object) -> GlobalOptions:
    """Return global options with these values."""
    made = GlobalOptions()
    for name, value in given.items():
        setattr(made, name, value)
    return made


def situation(*, interactive: bool = False, environment: str = "staging") -> Situation:
    """Return the situation of a run."""
    return Situation(
        name="db reset",
        line="python manage.py db reset",
        environment=environment,
        target=f"shop@{environment}",
        protected=environment == "production",
        interactive=interactive,
    )


def refusal(command: BaseCommand, given: GlobalOptions, here: Situation) -> Refused:
    """Return the error with which the gate refuses."""
    with pytest.raises(Refused) as caught:
        decide(command, given, here)
    return caught.value


def test_a_reading_command_is_read_only_and_asks_nothing() -> None:
    """Access.READ never needs a confirmation."""
    mode = mode_of(Look(), options())

    assert (Mode.READ_ONLY, Ask.NOTHING) == (mode, decide(Look(), options(), situation()))


@pytest.mark.parametrize(
    ("command", "mode"), [(Prompted(), Mode.ROLLBACK), (Typed(), Mode.READ_ONLY)]
)
def test_a_dry_run_needs_no_confirmation(command: BaseCommand, mode: Mode) -> None:
    """It is rolled back or read-only, so it needs none in production either."""
    given = options(dry_run=True)

    asked = decide(command, given, situation(environment="production"))

    assert (mode, Ask.NOTHING) == (mode_of(command, given), asked)


def test_an_unconfirmed_run_without_terminal_is_refused_with_the_line_to_use() -> None:
    """The exit code is 77, and the second `try` is the line to type."""
    error = refusal(Prompted(), options(), situation())

    assert ExitCode.REFUSED == error.exit_code
    assert "confirmation-required" == error.code
    assert (
        "python manage.py db reset --dry-run",
        "python manage.py db reset --confirm",
    ) == error.try_


def test_the_plain_flag_confirms_a_prompt_but_not_a_target() -> None:
    """TYPE_NAME needs the name of the target."""
    given = options(confirm=True)

    assert Ask.NOTHING == decide(Prompted(), given, situation())
    assert "confirmation-required" == refusal(Typed(), given, situation()).code


def test_only_the_right_target_confirms() -> None:
    """With a wrong DATABASE_URL, the target differs from the one that the operator named."""
    right, wrong = options(confirm="shop@staging"), options(confirm="shop@production")

    assert Ask.NOTHING == decide(Typed(), right, situation())
    error = refusal(Typed(), wrong, situation())
    assert "'shop@production' is not the target of this run: shop@staging" == error.message
    assert "python manage.py db reset --confirm=shop@staging" == error.try_[-1]


def test_a_wrong_target_is_refused_even_if_the_plain_flag_would_confirm() -> None:
    """An operator who names a target expects to work on it."""
    assert "confirmation-mismatch" == refusal(Prompted(), options(confirm="x@y"), situation()).code


def test_the_operator_at_a_terminal_is_asked() -> None:
    """PROMPT asks y/N, TYPE_NAME asks for the target."""
    here = situation(interactive=True)

    assert Ask.YES_OR_NO == decide(Prompted(), options(), here)
    assert Ask.TARGET == decide(Typed(), options(), here)


@pytest.mark.parametrize("answer", ["y", "Y", "yes", " yes "])
def test_yes_confirms_in_any_case(answer: str) -> None:
    """Case and spaces don't matter."""
    check_answer(Ask.YES_OR_NO, answer, Prompted(), situation())

    with pytest.raises(Refused, match="declined"):
        check_answer(Ask.YES_OR_NO, f"{answer}x", Prompted(), situation())


@pytest.mark.parametrize("answer", ["", "n", "no", "ja", "yep", "shop@staging"])
def test_any_other_answer_declines(answer: str) -> None:
    """An empty answer declines too."""
    with pytest.raises(Refused) as caught:
        check_answer(Ask.YES_OR_NO, answer, Prompted(), situation())

    assert "declined" == caught.value.code


@pytest.mark.parametrize("answer", ["", "y", "shop", "shop@production", "SHOP@STAGING"])
def test_only_the_exact_target_is_accepted_at_the_prompt(answer: str) -> None:
    """A similar name is refused."""
    with pytest.raises(Refused) as caught:
        check_answer(Ask.TARGET, answer, Typed(), situation())

    assert "confirmation-mismatch" == caught.value.code


def test_the_end_of_input_does_not_confirm() -> None:
    """A closed standard input can't answer."""
    with pytest.raises(Refused) as caught:
        check_answer(Ask.TARGET, None, Typed(), situation())

    assert "confirmation-required" == caught.value.code


def test_destructive_commands_need_break_glass_in_production() -> None:
    """The line to use contains both the reason and the target."""
    error = refusal(Typed(), options(), situation(environment="production", interactive=True))

    assert "it drops every table in shop@production" == error.why
    assert (
        'python manage.py db reset --break-glass "REASON" --confirm=shop@production'
        == error.try_[-1]
    )


def test_break_glass_passes_the_protection_but_still_asks() -> None:
    """A reason does not replace the confirmation."""
    given = options(break_glass="incident 12")
    here = situation(environment="production", interactive=True)

    assert Ask.TARGET == decide(Typed(), given, here)


def test_a_command_runs_only_in_its_environments() -> None:
    """A dry run in another environment is refused too."""
    error = refusal(Limited(), options(dry_run=True), situation(environment="development"))

    assert ("prohibited-here", "the command is limited to: staging") == (error.code, error.why)
    assert Ask.NOTHING == decide(Limited(), options(confirm=True), situation())


def test_arguments_may_raise_the_level_but_never_lower_it() -> None:
    """The stricter level of class and arguments is used."""
    here = situation(interactive=True)

    assert Ask.TARGET == decide(Raised(), options(), here)
    assert Ask.TARGET == decide(Lowered(), options(), here)


def test_the_line_to_use_replaces_a_wrong_confirmation_and_keeps_quotes() -> None:
    """It can be pasted without changes."""
    here = situation()._replace(line="python manage.py note 'two words' --confirm=x@y -- -z")

    error = refusal(Typed(), options(confirm="x@y"), here)

    assert "python manage.py note 'two words' --confirm=shop@staging -- -z" == error.try_[-1]
