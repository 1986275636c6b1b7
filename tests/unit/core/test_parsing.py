"""From the words of a command line to inputs and global options."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneoff import (
    Access,
    Argument,
    BaseCommand,
    Confirm,
    DryRun,
    Flag,
    Option,
    Result,
    Secret,
    SecretStr,
    UsageError,
)
from oneoff.core.arguments import SecretSource
from oneoff.core.options import split_leading
from oneoff.core.parsing import parse, scrub_argv


class Role(Enum):
    """A choice."""

    USER = "user"
    ADMIN = "admin"


class Reader(BaseCommand):
    """Read something."""

    access = Access.READ

    name: str = Argument(help="Which one.")
    files: list[Path] = Argument(default=[], help="Where.")
    limit: int = Option(default=50, short="l", help="How many.")
    tag: list[str] = Option(default=[], help="Only these.")
    role: Role = Option(default=Role.USER, help="Who.")
    active_only: bool = Flag(short="a", help="Only active ones.")

    async def handle(self) -> Result:
        return Result.unchanged("read")


class Writer(BaseCommand):
    """Write something."""

    access = Access.WRITE
    confirm = Confirm.TYPE_NAME
    dry_run = DryRun.ROLLBACK
    lock = "writing"

    email: str = Argument(help="Whose.")
    password: SecretStr = Secret(help="The password.", env="USER_PASSWORD", generate=True)
    token: SecretStr | None = Secret(help="The token.", env="USER_TOKEN", default=None)

    async def handle(self) -> Result:
        return Result.changed("written")


def problems_of(command: type[BaseCommand], line: str, name: str = "thing do") -> list[str]:
    """Return what the usage error lists."""
    with pytest.raises(UsageError) as caught:
        parse(command, line.split(), name)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("ada", {"name": "ada"}),
        ("ada a b", {"name": "ada", "files": ["a", "b"]}),
        ("--limit 5 ada", {"name": "ada", "limit": "5"}),
        ("ada --limit=5", {"name": "ada", "limit": "5"}),
        ("ada -l 5", {"name": "ada", "limit": "5"}),
        ("ada -l5", {"name": "ada", "limit": "5"}),
        ("ada -l=5", {"name": "ada", "limit": "5"}),
        ("ada -al5", {"name": "ada", "limit": "5", "active_only": True}),
        ("ada --limit -5", {"name": "ada", "limit": "-5"}),
        ("-5 --limit=-5", {"name": "-5", "limit": "-5"}),
        ("ada --tag x --tag=y", {"name": "ada", "tag": ["x", "y"]}),
        ("ada --active-only -a", {"name": "ada", "active_only": True}),
        ("-", {"name": "-"}),
        ("-- --limit", {"name": "--limit"}),
        ("--limit 5 -- -a -- b", {"name": "-a", "files": ["--", "b"], "limit": "5"}),
        ("--tag= ada", {"name": "ada", "tag": [""]}),
        ("ada --tag a=b", {"name": "ada", "tag": ["a=b"]}),
    ],
)
def test_every_spelling_is_read(line: str, values: dict[str, object]) -> None:
    """Options may stand before, between and after the arguments."""
    assert values == parse(Reader, line.split()).values


def test_the_command_is_built_from_the_values() -> None:
    """Texts have become what the annotations say."""
    command = parse(Reader, ["ada", "x", "--role", "admin", "--limit", "5"]).command

    assert isinstance(command, Reader)
    assert (5, Role.ADMIN, [Path("x")]) == (command.limit, command.role, command.files)


def test_global_options_stand_anywhere() -> None:
    """Bundled ones too; durations become seconds."""
    line = "-vq ada --json --timeout 1m30s x --reason why --ticket=T-1 -v --no-input"
    options = parse(Reader, line.split()).options

    assert (2, True, True, True) == (
        options.verbose,
        options.quiet,
        options.json,
        options.no_input,
    )
    assert (90.0, "why", "T-1") == (options.timeout, options.reason, options.ticket)


def test_options_not_given_have_their_defaults() -> None:
    """No confirmation, no time limit, a minute for the lock."""
    options = parse(Reader, ["ada"]).options

    assert (None, None, 60.0, 0, "", False) == (
        options.confirm,
        options.timeout,
        options.lock_wait,
        options.verbose,
        options.break_glass,
        options.dry_run,
    )


def test_policy_gives_a_command_its_options() -> None:
    """A writing command that asks and locks has all of them."""
    line = ["ada", "--dry-run", "--lock-wait=5s", "--break-glass", "fire"]
    options = parse(Writer, line).options

    assert (True, 5.0, "fire") == (options.dry_run, options.lock_wait, options.break_glass)


def test_confirm_never_takes_the_next_word() -> None:
    """A following word is an argument; only the `=` spelling names a target."""
    plain = parse(Writer, ["--confirm", "ada"])
    named = parse(Writer, ["ada", "--confirm=shop@production"])

    assert (True, {"email": "ada"}) == (plain.options.confirm, plain.values)
    assert "shop@production" == named.options.confirm


def test_a_target_after_confirm_is_explained() -> None:
    """The operator meant the `=` spelling."""
    assert [
        "'shop@production' is one word too many; a target is written --confirm=shop@production"
    ] == problems_of(Writer, "ada --confirm shop@production")


def test_all_problems_are_reported_together() -> None:
    """Those of the line first, then those of the values."""
    assert [
        "thing do has no option --limt; did you mean --limit?",
        "--timeout 'soon' is not a duration such as 90s, 5m or 1h30m",
        "--tag needs a value (--tag=VALUE if it starts with -)",
        "NAME is missing: Which one",
        "--role 'king' is not one of user, admin",
    ] == problems_of(Reader, "--limt 5 --timeout soon --role king --tag --active-only")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ada --limit", "--limit needs a value (--limit=VALUE if it starts with -)"),
        ("ada --limit --json", "--limit needs a value (--limit=VALUE if it starts with -)"),
        ("ada --limit 1 -l 2", "--limit is given twice"),
        ("ada --json=yes", "--json takes no value"),
        ("ada --limit x", "--limit 'x' is not a whole number"),
        (f"ada --limit {2**63}", f"--limit '{2**63}' is not a whole number"),
        ("ada --noin", "thing do has no option --noin"),
        ("ada --no-inpt", "thing do has no option --no-inpt; did you mean --no-input?"),
        ("ada --act", "thing do has no option --act"),
        ("ada -x", "thing do has no option -x"),
        ("ada -vxyz", "thing do has no option -x"),
        ("ada --version", "thing do has no option --version"),
        ("ada --dry-run", "thing do does not write, so it has no --dry-run"),
        ("ada --confirm", "thing do asks for no confirmation, so it has no --confirm"),
        ("ada --lock-wait 5s", "thing do takes no lock, so it has no --lock-wait"),
        ("ada --break-glass now", "thing do is prohibited nowhere, so it has no --break-glass"),
    ],
)
def test_a_wrong_option_is_one_problem(line: str, problem: str) -> None:
    """What is wrong is said once, and nothing is abbreviated or ignored."""
    assert [problem] == problems_of(Reader, line)


def test_a_required_option_without_its_value_is_one_problem() -> None:
    """It isn't missing as well."""

    class Strict(BaseCommand):
        """Read."""

        since: str = Option(help="From when.")

        async def handle(self) -> Result:
            return Result.unchanged("read")

    assert ["--since is missing: From when"] == problems_of(Strict, "")
    assert ["--since needs a value (--since=VALUE if it starts with -)"] == problems_of(
        Strict, "--since"
    )


def test_a_surplus_word_is_an_error() -> None:
    """Nothing typed is dropped silently."""
    assert ["'extra' is one word too many"] == problems_of(Writer, "ada extra --generate-password")


def test_a_command_that_can_not_be_previewed_says_so() -> None:
    """It writes, but has no dry run."""

    class Sender(BaseCommand):
        """Send it."""

        access = Access.WRITE
        dry_run = DryRun.UNSUPPORTED

        async def handle(self) -> Result:
            return Result.changed("sent")

    assert ["send can't be previewed, so it has no --dry-run"] == problems_of(
        Sender, "--dry-run", "send"
    )


def test_a_command_that_may_raise_its_level_has_confirm() -> None:
    """Some of its arguments ask, though the class itself doesn't."""

    class Clear(BaseCommand):
        """Clear it."""

        access = Access.WRITE
        dry_run = DryRun.PLAN

        def confirm_level(self) -> Confirm:
            return Confirm.TYPE_NAME

        async def handle(self) -> Result:
            return Result.changed("cleared")

    options = parse(Clear, ["--confirm=x", "--break-glass", "fire"]).options

    assert ("x", "fire") == (options.confirm, options.break_glass)


@pytest.mark.parametrize("line", ["--help", "ada -h", "--limit x --help", "-vh"])
def test_help_is_answered_whatever_else_is_wrong(line: str) -> None:
    """No command is built."""
    parsed = parse(Reader, line.split())

    assert (True, None) == (parsed.options.help, parsed.command)


def test_help_after_the_end_of_options_is_a_word() -> None:
    """`--` makes everything behind it an argument."""
    assert {"name": "--help"} == parse(Reader, ["--", "--help"]).values


def test_a_secret_has_its_own_flags() -> None:
    """They say where it comes from; the value is read later."""
    assert SecretSource.STDIN is parse(Writer, ["a", "--password-stdin"]).values["password"]
    assert SecretSource.GENERATE is parse(Writer, ["a", "--generate-password"]).values["password"]


@pytest.mark.parametrize(
    "line",
    [
        "ada --password hunter2",
        "ada --password=hunter2",
        "--password hun ter2 hunter2 --limit hunter2",
        "ada --passwrd hunter2",
        "ada --passwrd=hunter2",
        "ada --api-key hunter2",
        "ada --secret=hunter2 hunter2",
    ],
)
def test_a_secret_on_the_line_is_refused_and_not_repeated(line: str) -> None:
    """Whatever follows may belong to it."""
    with pytest.raises(UsageError) as caught:
        parse(Writer, line.split(), "user create")

    error = caught.value
    assert "ter2" not in " ".join([error.message, error.why, *error.try_, *map(str, error.args)])


def test_a_refused_secret_says_what_to_do_instead() -> None:
    """All the ways there are, with the names of this input."""
    expected = (
        "--password is never taken from the command line, where other users and the shell's "
        "history can see a secret; pipe it in with --password-stdin, set USER_PASSWORD in the "
        "environment, let --generate-password make one up, or be asked on a terminal"
    )

    assert [expected] == problems_of(Writer, "ada --password x")


def test_a_misspelt_secret_leads_to_its_flag() -> None:
    """Not to the spelling that is refused."""
    assert ["thing do has no option --passwrd; did you mean --password-stdin?"] == problems_of(
        Writer, "ada --passwrd x"
    )


def test_a_secret_comes_from_one_place() -> None:
    """Two flags for it contradict each other."""
    assert ["--password-stdin and --generate-password exclude each other"] == problems_of(
        Writer, "a --password-stdin --generate-password"
    )


def test_a_usage_error_leads_to_the_commands_help() -> None:
    """With the name the operator typed."""
    with pytest.raises(UsageError) as caught:
        parse(Reader, [], "user show")

    assert ("python manage.py user show --help",) == caught.value.try_


@given(st.lists(st.text(max_size=8), max_size=6))
def test_a_line_gives_values_or_a_usage_error(words: list[str]) -> None:
    """Whatever is typed, nothing else is raised."""
    with suppress(UsageError):
        parsed = parse(Reader, words)
        assert parsed.options.help or "name" in parsed.values


@given(st.text(), st.lists(st.text(), max_size=3))
def test_everything_after_two_dashes_is_taken_as_it_is(name: str, files: list[str]) -> None:
    """Also what looks like an option."""
    assert [name, *files] == [
        parse(Reader, ["--", name, *files]).values["name"],
        *parse(Reader, ["--", name, *files]).values.get("files", []),
    ]


def test_options_before_the_name_are_those_of_every_command() -> None:
    """They are set apart from the name; anything else starts it."""
    assert (["--json", "-v"], ["user", "list", "--json"]) == split_leading(
        ["--json", "-v", "user", "list", "--json"]
    )
    assert (["--version"], []) == split_leading(["--version"])
    assert ([], ["--dry-run", "user"]) == split_leading(["--dry-run", "user"])


class Caller(BaseCommand):
    """Call something."""

    access = Access.READ

    api_token: str = Argument(help="A badly declared secret.")
    url: str = Option(default="", help="Where.")
    client_secret: str = Option(default="", short="s", help="Another one.")
    args: list[str] = Option(default=[], help="Pairs.")
    rest: list[str] = Argument(default=[], help="More.")

    async def handle(self) -> Result:
        return Result.unchanged("called")


@pytest.mark.parametrize(
    ("line", "recorded"),
    [
        ("t0ps3cret", "***"),
        ("--url http://x t0ps3cret a b", "--url http://x *** a b"),
        ("x --url=postgres://u:t0ps3cret@h/d", "*** --url=postgres://u:***@h/d"),
        ("x --client-secret t0ps3cret", "*** --client-secret ***"),
        ("x --client-secret=t0ps3cret", "*** --client-secret=***"),
        ("x -s t0ps3cret", "*** -s ***"),
        ("x -st0ps3cret", "*** -s***"),
        ("x --args token=t0ps3cret --args a=b", "*** --args token=*** --args a=b"),
        ("x --unknown-password t0ps3cret y", "*** --unknown-password *** y"),
    ],
)
def test_secrets_are_removed_from_what_is_recorded(line: str, recorded: str) -> None:
    """By the name of the option or argument, and by what the word looks like."""
    assert recorded.split() == scrub_argv(Caller, line.split())


def test_flags_of_a_secret_take_nothing_with_them() -> None:
    """The word after `--password-stdin` is an argument and stays."""
    line = ["--password-stdin", "ada@example.com", "--dry-run"]

    assert line == scrub_argv(Writer, line)
