"""Parse the words of a command line into inputs and global options."""

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
def test_options_may_be_before_between_and_after_arguments(
    line: str, values: dict[str, object]
) -> None:
    """All spellings of options with a value are accepted."""
    assert values == parse(Reader, line.split()).values


def test_the_command_is_created_from_the_values() -> None:
    """Its attributes have the annotated types."""
    command = parse(Reader, ["ada", "x", "--role", "admin", "--limit", "5"]).command

    assert isinstance(command, Reader)
    assert (5, Role.ADMIN, [Path("x")]) == (command.limit, command.role, command.files)


def test_global_options_may_be_anywhere() -> None:
    """Bundled ones too. Durations become seconds."""
    line = "-vq ada --json --timeout 1m30s x --reason why --ticket=T-1 -v --no-input"
    options = parse(Reader, line.split()).options

    assert (2, True, True, True) == (
        options.verbose,
        options.quiet,
        options.json,
        options.no_input,
    )
    assert (90.0, "why", "T-1") == (options.timeout, options.reason, options.ticket)


def test_global_options_have_defaults() -> None:
    """No confirmation, no time limit, 60 seconds for the lock."""
    options = parse(Reader, ["ada"]).options

    assert (None, None, 60.0, 0, "", False) == (
        options.confirm,
        options.timeout,
        options.lock_wait,
        options.verbose,
        options.break_glass,
        options.dry_run,
    )


def test_the_policy_determines_the_global_options() -> None:
    """A writing command with a confirmation and a lock has all of them."""
    line = ["ada", "--dry-run", "--lock-wait=5s", "--break-glass", "fire"]
    options = parse(Writer, line).options

    assert (True, 5.0, "fire") == (options.dry_run, options.lock_wait, options.break_glass)


def test_confirm_never_takes_the_next_word() -> None:
    """The next word is an argument. A target needs the `=` spelling."""
    plain = parse(Writer, ["--confirm", "ada"])
    named = parse(Writer, ["ada", "--confirm=shop@production"])

    assert (True, {"email": "ada"}) == (plain.options.confirm, plain.values)
    assert "shop@production" == named.options.confirm


def test_a_target_after_confirm_is_explained() -> None:
    """The error shows the `=` spelling."""
    assert [
        "unexpected argument 'shop@production'; write the target as --confirm=shop@production"
    ] == problems_of(Writer, "ada --confirm shop@production")


def test_all_problems_are_reported_together() -> None:
    """Problems of the line are first, then those of the values."""
    assert [
        "thing do has no option --limt; did you mean --limit?",
        "--timeout 'soon' is not a duration such as 90s, 5m or 1h30m",
        "--tag needs a value (if it starts with -, write --tag=VALUE)",
        "NAME is missing: Which one",
        "--role 'king' is not one of user, admin",
    ] == problems_of(Reader, "--limt 5 --timeout soon --role king --tag --active-only")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ada --limit", "--limit needs a value (if it starts with -, write --limit=VALUE)"),
        ("ada --limit --json", "--limit needs a value (if it starts with -, write --limit=VALUE)"),
        ("ada --limit 1 -l 2", "--limit is given twice"),
        ("ada --json=yes", "--json takes no value"),
        ("ada --limit x", "--limit 'x' is not a whole number"),
        (f"ada --limit {2**63}", f"--limit '{2**63}' is not a whole number of at most {2**63 - 1}"),
        ("ada --noin", "thing do has no option --noin"),
        ("ada --no-inpt", "thing do has no option --no-inpt; did you mean --no-input?"),
        ("ada --act", "thing do has no option --act"),
        ("ada -x", "thing do has no option -x"),
        ("ada -vxyz", "thing do has no option -x"),
        ("ada --version", "thing do has no option --version"),
        ("ada --dry-run", "thing do does not write, so it has no --dry-run"),
        ("ada --confirm", "thing do does not ask for confirmation, so it has no --confirm"),
        ("ada --lock-wait 5s", "thing do does not take a lock, so it has no --lock-wait"),
        ("ada --break-glass now", "thing do is allowed everywhere, so it has no --break-glass"),
    ],
)
def test_a_wrong_option_is_one_problem(line: str, problem: str) -> None:
    """Each is reported once. No option can be abbreviated, and none is ignored."""
    assert [problem] == problems_of(Reader, line)


def test_a_required_option_without_its_value_is_one_problem() -> None:
    """It is not also reported as missing."""

    class Strict(BaseCommand):
        """Read."""

        since: str = Option(help="From when.")

        async def handle(self) -> Result:
            return Result.unchanged("read")

    assert ["--since is missing: From when"] == problems_of(Strict, "")
    assert ["--since needs a value (if it starts with -, write --since=VALUE)"] == problems_of(
        Strict, "--since"
    )


def test_a_surplus_word_is_an_error() -> None:
    """No word is dropped silently."""
    assert ["unexpected argument 'extra'"] == problems_of(Writer, "ada extra --generate-password")


def test_dry_run_of_a_command_that_does_not_support_it_is_an_error() -> None:
    """The command writes, but has no dry run."""

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
    """Some inputs require a confirmation, although the class does not."""

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
def test_help_is_shown_even_if_the_line_is_wrong(line: str) -> None:
    """No command is created."""
    parsed = parse(Reader, line.split())

    assert (True, None) == (parsed.options.help, parsed.command)


def test_help_after_the_end_of_options_is_a_word() -> None:
    """After `--` everything is an argument."""
    assert {"name": "--help"} == parse(Reader, ["--", "--help"]).values


def test_a_secret_has_flags_for_its_source() -> None:
    """The value is read later."""
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
    """The words after it may belong to it."""
    with pytest.raises(UsageError) as caught:
        parse(Writer, line.split(), "user create")

    error = caught.value
    assert "ter2" not in " ".join([error.message, error.why, *error.try_, *map(str, error.args)])


def test_the_error_for_a_secret_on_the_line_lists_the_alternatives() -> None:
    """With the names of this input."""
    expected = (
        "--password is not accepted on the command line, where other users and the shell's "
        "history can see it; pipe it in with --password-stdin, set USER_PASSWORD in the "
        "environment, generate one with --generate-password, or enter it at the prompt"
    )

    assert [expected] == problems_of(Writer, "ada --password x")


def test_a_misspelt_secret_suggests_its_stdin_flag() -> None:
    """Not the spelling that is refused."""
    assert ["thing do has no option --passwrd; did you mean --password-stdin?"] == problems_of(
        Writer, "ada --passwrd x"
    )


def test_a_secret_has_only_one_source() -> None:
    """Two flags for it are an error."""
    assert ["--password-stdin and --generate-password can't be used together"] == problems_of(
        Writer, "a --password-stdin --generate-password"
    )


def test_a_usage_error_suggests_the_commands_help() -> None:
    """It uses the name that the operator typed."""
    with pytest.raises(UsageError) as caught:
        parse(Reader, [], "user show")

    assert ("python manage.py user show --help",) == caught.value.try_


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_line_is_parsed_or_a_usage_error(words: list[str]) -> None:
    """No other exception is raised."""
    with suppress(UsageError):
        parsed = parse(Reader, words)
        assert parsed.options.help or "name" in parsed.values


@given(st.text(), st.lists(st.text(), max_size=3))
def test_everything_after_two_dashes_is_an_argument(name: str, files: list[str]) -> None:
    """Also a word that looks like an option."""
    assert [name, *files] == [
        parse(Reader, ["--", name, *files]).values["name"],
        *parse(Reader, ["--", name, *files]).values.get("files", []),
    ]


def test_only_options_of_every_command_may_precede_the_name() -> None:
    """Any other word starts the name."""
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
def test_recorded_words_contain_no_secrets(line: str, recorded: str) -> None:
    """They are found by the name of the option or argument, and by pattern."""
    assert recorded.split() == scrub_argv(Caller, line.split())


def test_the_word_after_a_secrets_flag_is_recorded() -> None:
    """The word after `--password-stdin` is an argument."""
    line = ["--password-stdin", "ada@example.com", "--dry-run"]

    assert line == scrub_argv(Writer, line)
