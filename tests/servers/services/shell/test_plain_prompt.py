"""`shell` with a user at the plain prompt: output, errors, and what is saved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.models import User
from tests.support.on_sqlite import ON_SQLITE

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser, Sessions

RENAME = "await session.execute(update(User).values(email='new@example.com'))"


async def emails(sessions: Sessions) -> list[str]:
    """Return the emails in the table."""
    async with sessions() as session:
        return list(await session.scalars(select(User.email).order_by(User.id)))


@ON_SQLITE
async def test_values_are_shown_and_the_last_one_is_kept(manage: Manage) -> None:
    """None is not shown. `_` is the last value, as in Python's own prompt."""
    outcome = await manage("shell", answers=["1 + 1", "None", "_ * 2"])

    assert (0, "2\n4\n") == (outcome.exit_code, outcome.stdout)


async def test_await_works_at_the_prompt(manage: Manage, make_user: MakeUser) -> None:
    """Objects that were loaded stay readable in the next input."""
    await make_user("ada")

    outcome = await manage(
        "shell", answers=["user = await session.scalar(select(User))", "user.username"]
    )

    assert (0, "'ada'\n") == (outcome.exit_code, outcome.stdout)


@ON_SQLITE
async def test_a_statement_may_take_several_lines(manage: Manage) -> None:
    """An empty line ends it, as in Python's own prompt."""
    outcome = await manage("shell", answers=["def two():", "    return 2", "", "two()"])

    assert (0, "2\n") == (outcome.exit_code, outcome.stdout)


async def test_an_error_does_not_end_the_session(manage: Manage) -> None:
    """The traceback has the user's own frames with their lines. A syntax error is shown too."""
    outcome = await manage(
        "shell", answers=["def bad():", "    1 / 0", "", "bad()", "x = )", "'on'"]
    )

    assert (0, "'on'\n") == (outcome.exit_code, outcome.stdout)
    without_markers = re.sub(r"^ *[~^]+\n", "", outcome.stderr, flags=re.MULTILINE)  # since 3.13
    assert (
        '  File "<input 2>", line 1, in <module>\n    bad()\n'
        '  File "<input 1>", line 2, in bad\n    1 / 0\n'
    ) in without_markers
    assert "SyntaxError: unmatched ')'\n" in outcome.stderr


@ON_SQLITE
async def test_a_forgotten_await_is_reported(manage: Manage) -> None:
    """Whether the coroutine is shown or dropped, it is named, and the run succeeds."""
    outcome = await manage(
        "shell", answers=["session.execute(1)", "x = session.execute(1)", "x = 1"]
    )

    assert 0 == outcome.exit_code, outcome.stderr
    assert "AsyncSession.execute is a coroutine: write `await` before it\n" in outcome.stderr
    assert "AsyncSession.execute was not awaited: write `await` before the call\n" in outcome.stderr


@ON_SQLITE
async def test_exit_ends_the_session(manage: Manage) -> None:
    """As Ctrl-D does."""
    outcome = await manage("shell", answers=["import sys; sys.exit()", "1 + 1"])

    assert (0, "") == (outcome.exit_code, outcome.stdout)


async def test_the_prompt_without_write_is_read_only(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """The error of a refused write is shown at once, and does not fail the run."""
    await make_user("ada")

    outcome = await manage("shell", answers=[RENAME, "await session.commit()", "'on'"])

    assert (0, "'on'\n") == (outcome.exit_code, outcome.stdout), outcome.stderr
    assert "this shell is read-only: exit, and start shell --write\n" in outcome.stderr
    assert ["ada@example.com"] == await emails(sessions)


async def test_no_transaction_is_open_between_two_inputs_that_read(manage: Manage) -> None:
    """An open transaction would block a migration while the shell waits for input."""
    outcome = await manage(
        "shell",
        answers=["(await session.execute(text('SELECT 1'))).scalar()", "session.in_transaction()"],
    )

    assert "1\nFalse\n" == outcome.stdout


async def test_with_write_commits_are_saved_and_other_changes_are_rolled_back(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """A warning at the end reports the rollback."""
    await make_user("ada")
    lost = "await session.execute(delete(User))"

    outcome = await manage(
        "shell --write --confirm", answers=[RENAME, "await session.commit()", lost]
    )

    assert 0 == outcome.exit_code, outcome.stderr
    assert "`await session.commit()` saves at once" in outcome.stderr
    assert "warning: uncommitted changes were rolled back\n" in outcome.stderr
    assert ["new@example.com"] == await emails(sessions)


async def test_a_dry_run_rolls_commits_back_too(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """The changed rows are counted."""
    await make_user("ada")

    outcome = await manage("shell --write --dry-run", answers=[RENAME, "await session.commit()"])

    assert outcome.outcome
    assert {"users": (0, 1, 0)} == outcome.outcome.tables
    assert ["ada@example.com"] == await emails(sessions)


async def test_every_input_is_in_the_log(manage: Manage) -> None:
    """Each input has one event, with secrets masked, also if it fails."""
    outcome = await manage(
        "shell",
        answers=["x = 'sk_live_0123456789'", "1 / 0"],
        environ={"STRIPE_API_KEY": "sk_live_0123456789"},
    )

    given = [line for line in outcome.stderr.splitlines() if "shell.input_given" in line]
    assert 2 == len(given)
    assert '"input": 1, "source": "x = \'***\'"' in given[0]
    assert '"input": 2, "source": "1 / 0"' in given[1]


async def test_every_input_is_kept_with_the_run(manage: Manage) -> None:
    """In order, with secrets masked, including an input that fails and one that exits."""
    typed = ["1 + 1", "password = 'hunter2hunter2'", "1 / 0", "exit()"]
    left = await manage("shell", answers=typed)

    assert left.outcome
    shown = (await manage(f"audit show {left.outcome.run_id} --json")).json["data"]["inputs"]

    assert [1, 2, 3, 4] == [given["number"] for given in shown]
    assert ["1 + 1", "password = '***'", "1 / 0", "exit()"] == [given["source"] for given in shown]


async def test_inputs_are_kept_although_the_shell_holds_the_write_lock(manage: Manage) -> None:
    """On SQLite, they are written after the shell has released it."""
    typed = [RENAME, "await session.scalar(select(func.count()).select_from(User))"]
    left = await manage("shell --write", answers=typed)

    assert left.outcome
    shown = (await manage(f"audit show {left.outcome.run_id} --json")).json["data"]["inputs"]

    assert typed == [given["source"] for given in shown]
