"""Help pages and the command reference. Entire texts are compared."""

from __future__ import annotations

import sys
from datetime import timedelta
from enum import Enum
from pathlib import Path

import pytest

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
)
from oneoff.runtime.container import BUILTIN
from oneoff.runtime.registry.entry import Entry, Listing
from oneoff.runtime.registry.registry import Registry
from oneoff.services.help import describe
from oneoff.services.help.pages import command_page, group_page, help_page, overview, wrapped
from oneoff.services.help.reference import markdown


class Role(Enum):
    """A choice."""

    USER = "user"
    ADMIN = "admin"


class Create(BaseCommand):
    """Create a user.

    The address is checked and normalised before
    anything is written:

        Ada@EXAMPLE.com becomes Ada@example.com
    """

    access = Access.WRITE
    confirm = Confirm.TYPE_NAME
    dry_run = DryRun.ROLLBACK
    lock = "users"
    environments = frozenset({"staging", "development"})
    examples = ("user create ada --role admin", "user create ada --dry-run")

    username: str = Argument(help="Unique, at most 30 characters.")
    groups: list[str] = Argument(default=[], help="Groups to join.")
    role: Role = Option(default=Role.USER, short="r", help="What the user may do.")
    expires: timedelta = Option(help="When the account ends.")
    tag: list[str] = Option(default=[], help="Any tags.")
    inactive: bool = Flag(help="The user can't sign in yet.")
    password: SecretStr = Secret(help="The password.", env="USER_PASSWORD", generate=True)

    async def handle(self, session: object, log: object, run: object) -> Result:
        return Result.changed("created")


PAGE = """\
Usage: python manage.py user create USERNAME [GROUPS...] --expires DURATION [OPTIONS]

Create a user.

The address is checked and normalised before
anything is written:

    Ada@EXAMPLE.com becomes Ada@example.com

Examples:
  python manage.py user create ada --role admin
  python manage.py user create ada --dry-run

Arguments:
  USERNAME               Unique, at most 30 characters.
  [GROUPS...]            Groups to join. [may be repeated]

Options:
  -r, --role user|admin  What the user may do. [default: user]
  --expires DURATION     When the account ends. [required]
  --tag TEXT             Any tags. [may be repeated]
  --inactive             The user can't sign in yet.
  --password-stdin       The password. [read from standard input; or from USER_PASSWORD; or at a
                         prompt]
  --generate-password    Generate one and show it once.

Effects:
  - changes data
  - requires confirmation of the target: at a prompt, or --confirm=TARGET
  - --dry-run runs the command, counts the rows and rolls back
  - runs only in: development, staging (or with --break-glass)
  - holds the lock 'users'; a second run waits for it
  - uses: database

Global options:
  --dry-run                     Show what would happen and change nothing.
  --confirm=TARGET              Confirm without a prompt. TARGET is, for example, shop@staging.
  --lock-wait DURATION          Wait this long for another run to release the lock. [default: 60s]
  --statement-timeout DURATION  Stop a statement that takes longer.
  --lock-timeout DURATION       Stop a statement that waits longer for the lock of a table or row.
  --idle-timeout DURATION       End a transaction that is idle for longer.
  --break-glass REASON          Run although policy forbids it. The reason is recorded for a review.
  --approval ID                 Run what a second person has approved; this is also the
                                confirmation.
  --json                        Print the result as one JSON object.
  --no-input                    Never prompt. A run that needs an answer is refused.
  -v, --verbose                 Show more log messages. [may be repeated]
  -q, --quiet                   Print only the data.
  --debug                       Show debug messages and tracebacks.
  --traceback                   Show the traceback of an error.
  --no-color                    Print without colors, as with NO_COLOR in the environment.
  --timeout DURATION            Cancel the run and roll it back after this long: 90s, 5m.
  --reason TEXT                 Record the reason for the run.
  --ticket TEXT                 Record the ticket that the run belongs to.
  -h, --help                    Show this page.
"""


def entry(name: str, summary: str = "", broken: str = "", alias_of: str = "") -> Entry:
    """Make an entry of the listing."""
    made = Entry(name, "commands." + name.replace(" ", "."), "commands", "")
    made.summary, made.broken, made.alias_of = summary, broken, alias_of
    return made


LISTING = Listing(
    [
        entry("hello", "Greet somebody."),
        entry("migrate", "Bring the database to head.", alias_of="db migrate"),
        entry("db migrate", "Bring the database to head."),
        entry("report daily", broken="commands/report/daily.py:3: invalid syntax"),
        entry("user create", "Create a user."),
    ],
    {"db": "The database.", "report": "", "user": "Accounts."},
)


def test_the_page_of_a_command_describes_it_completely() -> None:
    """It has usage, docstring, examples, inputs, effects and global options."""
    assert PAGE == command_page("user create", Create)


def test_a_page_fits_the_terminal() -> None:
    """Texts are wrapped within their column. Code in a docstring is unchanged."""
    lines = command_page("user create", Create, width=60).splitlines()

    assert not [line for line in lines if len(line) > 60 and "Usage" not in line]
    assert "    Ada@EXAMPLE.com becomes Ada@example.com" in lines
    assert "The address is checked and normalised before anything is" in lines


def test_the_overview_lists_all_commands_by_group() -> None:
    """An alias shows its target, and a broken command its error."""
    expected = """\
Usage: python manage.py COMMAND [ARGUMENTS] [OPTIONS]

Commands
  hello         Greet somebody.
  migrate       Bring the database to head. (= db migrate)

db: The database.
  db migrate    Bring the database to head.

report
  report daily  BROKEN commands/report/daily.py:3: invalid syntax

user: Accounts.
  user create   Create a user.

python manage.py help COMMAND shows help for one command.
"""
    assert expected == overview(LISTING)


def test_a_narrow_terminal_shortens_summaries_but_not_errors() -> None:
    """The message of a broken command is at the end of its line."""
    lines = overview(LISTING, width=44).splitlines()

    assert "  migrate       Bring the database to hea..." in lines
    assert "  report daily  BROKEN commands/report/daily.py:3: invalid syntax" in lines


def test_a_group_has_a_page() -> None:
    """It has the group's summary and commands."""
    expected = """\
Usage: python manage.py user COMMAND [ARGUMENTS] [OPTIONS]

Accounts.

  user create  Create a user.
"""
    assert expected == group_page(LISTING, "user")


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        ({}, "only reads; a write is an error"),
        ({"access": Access.WRITE, "dry_run": DryRun.UNSUPPORTED}, "has no dry run"),
        (
            {"access": Access.WRITE, "dry_run": DryRun.PLAN},
            "--dry-run shows the plan and changes nothing",
        ),
        (
            {"access": Access.WRITE, "dry_run": DryRun.PLAN, "confirm": Confirm.TYPE_NAME},
            "is refused in production without --break-glass",
        ),
        (
            {"confirm_level": lambda _self: Confirm.PROMPT},
            "some inputs require confirmation",
        ),
        (
            {"confirm": Confirm.PROMPT, "confirm_level": lambda _self: Confirm.TYPE_NAME},
            "requires confirmation: at a prompt, or --confirm; some inputs require the target",
        ),
    ],
)
def test_effects_describe_the_policy(attributes: dict[str, object], line: str) -> None:
    """They have one line for each rule."""

    async def handle(self: object) -> Result:
        return Result.unchanged("done")

    command = type("Some", (BaseCommand,), {"__doc__": "Do it.", "handle": handle, **attributes})

    assert f"  - {line}" in command_page("some", command).splitlines()


def test_effects_name_what_a_command_uses_outside_the_process() -> None:
    """Not the names of parameters, except for resources of the project."""

    class Call(BaseCommand):
        """Call it."""

        async def handle(
            self,
            work: object,
            jobs: object,
            open: object,  # noqa: A002 - the name of the resource
            log: object,
            payments: object,
        ) -> Result:
            return Result.unchanged("done")

    assert "  - uses: database, job queue, payments" in command_page("call", Call).splitlines()


def test_effects_do_not_mention_resources_if_the_command_uses_none() -> None:
    """It may still use something that it opens itself."""

    class Wait(BaseCommand):
        """Wait."""

        async def handle(self, run: object, log: object) -> Result:
            return Result.unchanged("done")

    assert "uses" not in command_page("wait", Wait)


def test_every_resource_of_the_framework_has_a_name_in_help() -> None:
    """Otherwise help would show the name of a parameter."""
    assert set(BUILTIN) == set(describe.USED)


def test_a_page_off_a_terminal_fits_a_hundred_columns() -> None:
    """Also if the choices of an option are almost as long."""

    class Find(BaseCommand):
        """Find it."""

        state: str = Option(default="", choices=[f"{n}-state" * 2 for n in range(9)], help="Which.")

        async def handle(self) -> Result:
            return Result.unchanged("found")

    lines = command_page("find", Find).splitlines()

    assert [] == [line for line in lines if len(line) > 100]
    assert "  --state STATE  Which. [one of: 0-state0-state, 1-state1-state, " in "\n".join(lines)


def test_a_default_duration_is_shown_as_it_can_be_typed() -> None:
    """The parser accepts it."""

    class Wait(BaseCommand):
        """Wait."""

        pause: timedelta = Option(default=timedelta(0), help="Before.")
        age: timedelta = Option(default=timedelta(days=90, minutes=90), help="How old.")

        async def handle(self) -> Result:
            return Result.unchanged("waited")

    page = command_page("wait", Wait)

    assert "Before. [default: 0s]" in page
    assert "How old. [default: 90d1h30m]" in page


def test_words_longer_than_the_line_are_not_split() -> None:
    """For example, a path or a URL."""
    long = "x" * 50

    assert f"  a\n  {long}\n  b" == wrapped(["a", long, "b"], 30, "  ")


def test_words_select_the_help_page() -> None:
    """Of all commands, of a group, or of a command."""
    registry = Registry(("oneoff.commands",), str(Path.cwd()))

    assert help_page(registry).startswith("Usage: python manage.py COMMAND")
    assert "\n  commands check" in help_page(registry, ["commands"])
    assert help_page(registry, ["commands", "new"]).startswith(
        "Usage: python manage.py commands new NAME... [OPTIONS]\n"
    )


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the reference of a project with one command and an alias of it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "sixth" / "user"
    folder.mkdir(parents=True)
    (tmp_path / "sixth" / "__init__.py").write_text("")
    (folder / "__init__.py").write_text('"""Accounts."""\n')
    (folder / "show.py").write_text(
        "from oneoff import Argument, BaseCommand, Result\n\n\n"
        'class Show(BaseCommand):\n    """Show a user."""\n\n'
        '    examples = ("user show ada",)\n\n'
        '    user: str = Argument(help="Which | whom.")\n\n'
        "    async def handle(self) -> Result:\n        return Result.unchanged(self.user)\n"
    )
    (tmp_path / "sixth" / "whois.py").write_text(
        'from sixth.user.show import Show\n\n__all__ = ["Show"]\n'
    )
    text = markdown(Registry(("sixth",), str(tmp_path)))
    for name in [name for name in sys.modules if name.partition(".")[0] == "sixth"]:
        del sys.modules[name]
    return text


def test_the_reference_has_a_section_for_each_command(reference: str) -> None:
    """It shows the same texts as help. An alias links to its target."""
    section = """\
### user show

Show a user.

```
python manage.py user show USER [OPTIONS]
```

| Argument | Meaning |
| --- | --- |
| `USER` | Which \\| whom. |

- only reads; a write is an error

```sh
python manage.py user show ada
```
"""
    assert section in reference
    assert "The same as [`user show`](#user-show)." in reference
    assert "## user\n\nAccounts.\n" in reference


def test_the_reference_explains_every_global_option(reference: str) -> None:
    """Also the options that only some commands have."""
    assert (
        "| `--timeout DURATION` | Cancel the run and roll it back after this long: 90s, 5m. |"
        in reference
    )
    assert "| `--confirm[=TARGET]` |" in reference
