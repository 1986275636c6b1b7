"""Tasks that a command starts and does not await: nothing that they do is lost in silence."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from oneoff import CommandError, Project, call_command
from oneoff.runtime.application import Application
from oneoff.runtime.unfinished_tasks import waiting_for_tasks
from oneoff.testing import Manage
from tests.support.command_package import NAME, Package
from tests.support.database import query
from tests.support.fixture_types import Sessions

COMMAND = """
import asyncio

from oneoff import Access, BaseCommand, DryRun, Result
from sqlalchemy import text

INSERT = text("INSERT INTO notes VALUES ('kept')")


class Add(BaseCommand):
    'Add a note.'

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("add",)

    async def handle(self, session{resource}) -> Result:
{body}
        return Result.changed("added", rows=1)
"""
START = "        task = asyncio.create_task(session.execute(INSERT))\n"
GROUP = """\
        async with asyncio.TaskGroup() as group:
            group.create_task(session.execute(INSERT))
"""
FAIL = """\
        async def fail():
            raise ValueError('lost')

        await session.execute(INSERT)
        asyncio.create_task(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
"""
CANCEL = """\
        await session.execute(INSERT)
        task = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(0)
        task.cancel()
"""
PROVIDER = """
import asyncio
from contextlib import asynccontextmanager


@asynccontextmanager
async def heart():
    beating = asyncio.create_task(asyncio.Event().wait())
    yield beating
    beating.cancel()
"""


@pytest.fixture
async def application(manage: Manage, sessions: Sessions, command_package: Package) -> Application:
    """Return a project whose only command is `add`, on a database with the table `notes`."""
    async with sessions() as session:
        await session.execute(text("CREATE TABLE notes (note varchar(20))"))
        await session.commit()
    project = Project("shop", commands=(NAME,), resources={"heart": f"{NAME}.providers:heart"})
    return Application(project, command_package.root, manage.environ)


def write(package: Package, body: str, *, resource: str = "") -> None:
    """Write the command `add`, with the body of its `handle`."""
    package.write(add=COMMAND.format(body=body.rstrip("\n"), resource=resource), providers=PROVIDER)


def notes(application: Application) -> list[tuple[str]]:
    """Return the rows that were committed."""
    return query(application.config.database_setting, "SELECT note FROM notes")


async def test_a_run_fails_if_a_task_that_uses_the_session_is_not_awaited(
    application: Application, command_package: Package
) -> None:
    """Its row would be missing, although the run ends with 0."""
    write(command_package, START)

    with pytest.raises(CommandError) as caught:
        await call_command("add", application)

    assert "not awaited: AsyncSession.execute" == caught.value.message
    assert "not-awaited" == caught.value.code
    assert [] == notes(application)


@pytest.mark.parametrize(
    "body",
    [
        START + "        await task\n",
        START + "        while not task.done():\n            await asyncio.sleep(0)\n",
        GROUP,
    ],
    ids=["awaited", "done", "group"],
)
async def test_a_task_that_is_done_in_time_is_committed(
    application: Application, command_package: Package, body: str
) -> None:
    """It does not matter who has waited for it."""
    write(command_package, body)

    await call_command("add", application)

    assert [("kept",)] == notes(application)


async def test_the_error_of_a_task_that_nothing_has_awaited_fails_the_run(
    application: Application, command_package: Package
) -> None:
    """The row of the first statement is rolled back."""
    write(command_package, FAIL)

    with pytest.raises(CommandError, match="ValueError: lost"):
        await call_command("add", application)

    assert [] == notes(application)


async def test_a_resource_may_keep_a_task_until_it_is_closed(
    application: Application, command_package: Package
) -> None:
    """Also one that `handle` opens itself."""
    body = "        await session.execute(INSERT)\n        await open('heart')\n"
    write(command_package, body, resource=", open")

    await call_command("add", application)

    assert [("kept",)] == notes(application)


async def test_a_task_that_the_command_cancels_is_no_error(
    application: Application, command_package: Package
) -> None:
    """It may end a little later than `handle`."""
    write(command_package, CANCEL)

    await call_command("add", application)

    assert [("kept",)] == notes(application)


async def test_overlapping_runs_count_only_their_own_tasks_and_restore_the_factory() -> None:
    """As in a worker, the run that started first ends first."""
    loop = asyncio.get_running_loop()
    started, ended = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with waiting_for_tasks():
            await started.wait()
            forgotten = loop.create_task(asyncio.Event().wait())
        assert forgotten.cancelled()

    async def second() -> None:
        async with waiting_for_tasks():
            started.set()
            await ended.wait()

    waiting = asyncio.gather(first(), second(), return_exceptions=True)
    other = loop.create_task(asyncio.Event().wait())
    await started.wait()
    loop.call_soon(ended.set)
    errors = await waiting

    assert [CommandError, type(None)] == [type(error) for error in errors]
    assert not other.done()
    assert loop.get_task_factory() is None
    other.cancel()
