"""`shell` with a script from -c, a file or standard input: one transaction, and its result."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from app.models import User
from oneoff.core.errors import CommandError
from oneoff.core.project import load_object
from oneoff.services.shell.evaluation import user_traceback
from tests.support.on_sqlite import ON_SQLITE

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser, Sessions

RENAME = "await session.execute(update(User).values(email='new@example.com'))"


async def emails(sessions: Sessions) -> list[str]:
    """Return the emails in the table."""
    async with sessions() as session:
        return list(await session.scalars(select(User.email).order_by(User.id)))


async def test_await_works_at_the_top_level_and_the_names_are_defined(
    manage: Manage, make_user: MakeUser, capsys: pytest.CaptureFixture[str]
) -> None:
    """The session, SQLAlchemy's verbs, the models, settings, run, and Project(shell=...)."""
    await make_user("ada")
    code = (
        "user = await session.scalar(select(User))\n"
        "print(user, run.command, settings.password_min_length, Role.ADMIN, users.__name__)"
    )

    outcome = await manage(["shell", "-c", code])

    assert (0, "") == (outcome.exit_code, outcome.stdout), outcome.stderr
    assert "<User 1 ada> shell 15 admin app.users\n" == capsys.readouterr().out


@pytest.mark.parametrize("line", ["shell", "shell -"])
async def test_a_script_can_come_from_standard_input(
    manage: Manage, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    """Without a terminal, `shell` runs it."""
    outcome = await manage(line, stdin="print(1)\nprint(__name__)\n")

    assert (0, "1\n__main__\n") == (outcome.exit_code, capsys.readouterr().out)


async def test_a_script_can_be_a_file(
    manage: Manage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`__file__` is its path."""
    script = tmp_path / "fix.py"
    script.write_text("print(__file__)\n")

    outcome = await manage(["shell", str(script)])

    assert (0, f"{script}\n") == (outcome.exit_code, capsys.readouterr().out)


@ON_SQLITE
async def test_a_missing_file_is_bad_data(manage: Manage) -> None:
    """The error names the file and the reason."""
    outcome = await manage("shell nofile.py")

    assert 65 == outcome.exit_code
    assert "nofile.py can't be read: No such file or directory\n" in outcome.stderr


@ON_SQLITE
async def test_two_scripts_are_a_usage_error(manage: Manage) -> None:
    """Their order is not defined."""
    assert 2 == (await manage("shell fix.py -c 1")).exit_code


@ON_SQLITE
async def test_an_empty_script_does_nothing(manage: Manage) -> None:
    """As with other interpreters, an empty file is a valid script."""
    assert 0 == (await manage("shell")).exit_code


def test_a_traceback_hides_the_framework_inside_the_project() -> None:
    """As in this repository, whose root contains both."""
    root = Path(__file__).resolve().parents[2]

    with pytest.raises(CommandError) as caught:
        load_object("no_such_module:name")
    shown = user_traceback(caught.value, root)

    assert Path(__file__).name in shown
    assert "core/project.py" not in shown


@ON_SQLITE
async def test_an_error_exits_1_with_the_users_own_frames(manage: Manage, tmp_path: Path) -> None:
    """Neither the framework nor an installed package is in the traceback."""
    script = tmp_path / "fix.py"
    script.write_text("def fix():\n    return 1 / 0\n\nfix()\n")

    outcome = await manage(["shell", str(script)])

    assert 1 == outcome.exit_code
    shown = outcome.stderr[outcome.stderr.index("Traceback") :]
    assert re.fullmatch(
        rf"""Traceback \(most recent call last\):
  File "{script}", line 4, in <module>
    fix\(\)
(?:    ~~~\^\^
)?  File "{script}", line 2, in fix
    return 1 / 0
           ~~\^~~
ZeroDivisionError: division by zero
((?:\{{|warning).*\n)*error\[script-failed\]: {script} failed: ZeroDivisionError: division by zero
  why:  its work was rolled back
""",
        shown,
    ), shown


@ON_SQLITE
async def test_the_frames_of_the_project_are_the_users_own(manage: Manage) -> None:
    """An error of the project keeps its code and its message."""
    outcome = await manage(["shell", "-c", "await users.get(session, 'zoe')"])

    assert 1 == outcome.exit_code
    assert "app/users.py" in outcome.stderr
    assert "error[user-not-found]: there is no user 'zoe'\n" in outcome.stderr


@ON_SQLITE
async def test_a_syntax_error_shows_where(manage: Manage) -> None:
    """As Python would."""
    outcome = await manage(["shell", "-c", "x = ("])

    assert 1 == outcome.exit_code
    assert "SyntaxError: '(' was never closed\n" in outcome.stderr


@ON_SQLITE
@pytest.mark.parametrize(("code", "exit_code"), [("exit(0)", 0), ("exit()", 0), ("exit(3)", 1)])
async def test_a_script_can_exit_early(manage: Manage, code: str, exit_code: int) -> None:
    """Any code but 0 is a failure."""
    outcome = await manage(["shell", "-c", f"import sys; sys.{code}"])

    assert exit_code == outcome.exit_code


@ON_SQLITE
async def test_a_coroutine_that_was_not_awaited_is_an_error(manage: Manage) -> None:
    """A script that did nothing must not exit 0."""
    outcome = await manage(["shell", "-c", "session.execute(text('SELECT 1'))"])

    assert 1 == outcome.exit_code
    assert "error[not-awaited]: not awaited: AsyncSession.execute\n" in outcome.stderr


async def test_a_script_without_write_is_read_only(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """The database refuses a write, and the error names the option that allows it."""
    await make_user("ada")

    outcome = await manage(["shell", "-c", RENAME])

    assert 1 == outcome.exit_code
    assert "error[read-only]: " in outcome.stderr
    assert "  try:  run the same command with --write\n" in outcome.stderr
    assert ["ada@example.com"] == await emails(sessions)


async def test_a_refused_write_fails_the_run_even_if_the_error_is_caught(
    manage: Manage, make_user: MakeUser
) -> None:
    """A script that catches the error has not done its work."""
    await make_user("ada")

    outcome = await manage(["shell", "-c", f"try:\n    {RENAME}\nexcept Exception:\n    pass"])

    assert 1 == outcome.exit_code


async def test_with_write_a_script_is_saved_at_its_end(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """The script need not commit."""
    await make_user("ada")

    outcome = await manage(["shell", "--write", "--confirm", "-c", RENAME])

    assert 0 == outcome.exit_code, outcome.stderr
    assert ["new@example.com"] == await emails(sessions)


async def test_a_script_that_fails_is_rolled_back_with_its_own_commits(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """All or nothing."""
    await make_user("ada")
    code = f"{RENAME}\nawait session.commit()\n1 / 0"

    outcome = await manage(["shell", "--write", "--confirm", "-c", code])

    assert 1 == outcome.exit_code
    assert ["ada@example.com"] == await emails(sessions)


async def test_a_dry_run_counts_and_rolls_back(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """It needs no confirmation."""
    await make_user("ada")

    outcome = await manage(["shell", "--write", "--dry-run", "--json", "-c", RENAME])

    assert {"users": {"inserted": 0, "updated": 1, "deleted": 0}} == outcome.json["tables"]
    assert ["ada@example.com"] == await emails(sessions)


@ON_SQLITE
async def test_writing_in_production_needs_confirmation(manage: Manage) -> None:
    """Without a terminal it is refused, and the error shows the command with --confirm."""
    outcome = await manage("shell --write -c 1", environ={"ENVIRONMENT": "production"})

    assert 77 == outcome.exit_code
    assert "python manage.py shell --write -c 1 --confirm\n" in outcome.stderr


@ON_SQLITE
async def test_writing_outside_production_needs_no_confirmation(manage: Manage) -> None:
    """A development database needs no protection."""
    outcome = await manage("shell --write -c 1", environ={"ENVIRONMENT": "development"})

    assert 0 == outcome.exit_code, outcome.stderr


@ON_SQLITE
async def test_the_input_is_in_the_log_without_its_secrets(manage: Manage) -> None:
    """One event for a script, before it runs."""
    secret = {"STRIPE_API_KEY": "sk_live_0123456789"}

    outcome = await manage(["shell", "-c", "x = 'sk_live_0123456789'"], environ=secret)

    line = next(line for line in outcome.stderr.splitlines() if "shell.input_given" in line)
    assert '"source": "x = \'***\'"' in line


@ON_SQLITE
async def test_secrets_in_a_traceback_are_masked(manage: Manage) -> None:
    """In the message and in the line of code."""
    secret = {"STRIPE_API_KEY": "sk_live_0123456789"}

    outcome = await manage(
        ["shell", "-c", "raise ValueError('sk_live_0123456789')"], environ=secret
    )

    assert "ValueError: ***\n" in outcome.stderr
    assert "sk_live" not in outcome.stderr
