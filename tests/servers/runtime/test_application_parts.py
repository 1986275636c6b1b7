"""A run uses what an application has: plain functions, its session class, its engine's options."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from oneoff import CommandError, ConfigurationError, Project, call_command
from oneoff.core.errors import DataError, DeadlineReached
from oneoff.runtime.application import Application
from oneoff.testing import Manage
from tests.support.command_package import NAME, Package
from tests.support.database import query
from tests.support.fixture_types import Sessions
from tests.support.on_sqlite import ON_SQLITE

COMMAND = """
from oneoff import Access, BaseCommand, Confirm, DryRun, Result
from sqlalchemy import text
from sqlalchemy.orm import Session

from ninth.parts import Missing, Order, OwnSession, note_type

INSERT = text("INSERT INTO notes VALUES (:note)")


class Add(BaseCommand):
    'Add a note.'

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("add",)

    {handle}
"""
PLAIN = """def handle(self, session: Session) -> Result:
        assert isinstance(session, Session)
        session.execute(INSERT, {"note": "kept"})
        session.commit()  # a service may: it ends a savepoint
        return Result.changed("added", rows=1)
"""
PARTS = """
import json
from typing import Any
from contextlib import asynccontextmanager
from sqlalchemy import Column, JSON, MetaData, String, Table
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from pydantic import BaseModel


class OwnSession(AsyncSession):
    async def exec(self, statement, values):
        return await self.execute(statement, values)


class Missing(Exception):
    pass


class Order(BaseModel):
    number: int


note_type = Table("notes", MetaData(), Column("note", JSON))
commits = []
options = {
    "json_serializer": lambda value: json.dumps({"wrapped": value}),
    "listeners": {"commit": lambda connection: commits.append(connection)},
}
url = ""


@asynccontextmanager
async def elsewhere():
    engine = create_async_engine(url)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


@asynccontextmanager
async def within(work):
    yield OwnSession(work.connection, join_transaction_mode="create_savepoint")
"""


@pytest.fixture
async def root(manage: Manage, sessions: Sessions, command_package: Package) -> str:
    """Return the root of a project, on a database with the table `notes`."""
    async with sessions() as session:
        await session.execute(text("CREATE TABLE notes (note varchar(80))"))
        await session.commit()
    command_package.write(parts=PARTS)
    return command_package.root


def application(
    manage: Manage, root: str, package: Package, handle: str, **parts: Any
) -> Application:
    """Return a project with the command `add` and these parts of `Project(...)`."""
    package.write(add=COMMAND.replace("{handle}", handle))
    resources = {"session": parts.pop("provider")} if "provider" in parts else None
    errors = (parts.pop("error"),) if "error" in parts else ()
    project = Project("shop", commands=(NAME,), resources=resources, errors=errors, **parts)
    return Application(project, root, manage.environ)


def notes(manage: Manage) -> list[str]:
    """Return the notes that were committed."""
    return [row[0] for row in query(manage.environ["DATABASE_URL"], "SELECT note FROM notes")]


@pytest.mark.parametrize(("dry_run", "kept"), [(False, ["kept"]), (True, [])])
async def test_a_plain_function_gets_a_plain_session_in_the_runs_transaction(
    manage: Manage, root: str, command_package: Package, *, dry_run: bool, kept: list[str]
) -> None:
    """Its rows are counted, committed, and rolled back in a dry run, as those of a coroutine."""
    app = application(manage, root, command_package, PLAIN)

    result = await call_command("add", app, dry_run=dry_run)

    assert 1 == result.rows
    assert kept == notes(manage)


async def test_the_applications_session_class_is_used(
    manage: Manage, root: str, command_package: Package
) -> None:
    """It may have methods of its own, as SQLModel's `exec`."""
    handle = """async def handle(self, session: OwnSession) -> Result:
        await session.exec(INSERT, {"note": "kept"})
        return Result.changed("added", rows=1)
"""
    app = application(manage, root, command_package, handle, session=f"{NAME}.parts:OwnSession")

    await call_command("add", app)

    assert ["kept"] == notes(manage)


async def test_a_session_outside_of_the_runs_transaction_is_refused(
    manage: Manage, root: str, command_package: Package
) -> None:
    """The run would end with 0 and `rows=1`, and nothing would be written."""
    app = application(manage, root, command_package, PLAIN, provider=f"{NAME}.parts:elsewhere")
    url = app.config.database().sqlalchemy().render_as_string(hide_password=False)
    command_package.write(parts=PARTS.replace('url = ""', f"url = {url!r}"))

    with pytest.raises(ConfigurationError) as caught:
        await call_command("add", app)

    assert "other-session" == caught.value.code
    assert f"{NAME}.parts:elsewhere" in caught.value.message
    assert [] == notes(manage)


async def test_a_session_that_a_project_makes_in_the_runs_transaction_is_used(
    manage: Manage, root: str, command_package: Package
) -> None:
    """Its provider asks for `work`."""
    app = application(manage, root, command_package, PLAIN, provider=f"{NAME}.parts:within")

    await call_command("add", app)

    assert ["kept"] == notes(manage)


async def test_options_of_the_applications_engine_are_used(
    manage: Manage, root: str, command_package: Package
) -> None:
    """Its JSON is written as the application writes it, and its listeners are called."""
    handle = """async def handle(self, session) -> Result:
        await session.execute(note_type.insert(), {"note": 1})
        return Result.changed("added", rows=1)
"""
    app = application(manage, root, command_package, handle, engine_options=f"{NAME}.parts:options")

    await call_command("add", app)

    assert [{"wrapped": 1}] == [json.loads(note) for note in notes(manage)]
    parts = __import__(f"{NAME}.parts", fromlist=["commits"])
    assert len(parts.commits) >= 1


@ON_SQLITE
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("{'poolclass': None}", "'poolclass' can't be taken over"),
        ("{'connect_args': {'factory': None}}", "connect_args['factory'] is decided by the run"),
        (
            "{'execution_options': {'isolation_level': 'AUTOCOMMIT'}}",
            "['isolation_level'] is decided",
        ),
        ("{'execution_options': {'oneoff_begin': 'BEGIN'}}", "['oneoff_begin'] is decided"),
    ],
)
async def test_an_option_that_can_not_be_used_is_refused(
    manage: Manage, root: str, command_package: Package, options: str, problem: str
) -> None:
    """Nothing that is given is ignored."""
    app = application(manage, root, command_package, PLAIN, engine_options=f"{NAME}.parts:options")
    command_package.write(parts=PARTS + f"\noptions = {options}\n")

    with pytest.raises(ConfigurationError) as caught:
        await call_command("add", app)

    assert ("engine-options", True) == (caught.value.code, problem in caught.value.message)


@ON_SQLITE
async def test_an_error_that_the_project_declares_is_not_a_bug(
    manage: Manage, root: str, command_package: Package
) -> None:
    """Its message is shown as it is."""
    handle = """def handle(self, session) -> Result:
        raise Missing("no order 7")
"""
    app = application(manage, root, command_package, handle, error=f"{NAME}.parts:Missing")

    with pytest.raises(CommandError) as caught:
        await call_command("add", app)

    assert ("command-failed", "no order 7") == (caught.value.code, caught.value.message)
    assert "its work was rolled back" == caught.value.why


@ON_SQLITE
async def test_input_that_pydantic_refuses_is_bad_input(
    manage: Manage, root: str, command_package: Package
) -> None:
    """The values are not shown: they may be secret."""
    handle = """def handle(self, session) -> Result:
        Order(number="planted")
"""
    app = application(manage, root, command_package, handle)

    with pytest.raises(DataError) as caught:
        await call_command("add", app)

    assert "bad-input" == caught.value.code
    assert "number: Input should be a valid integer" in caught.value.message
    assert "planted" not in caught.value.message


@ON_SQLITE
async def test_a_plain_function_that_blocks_beyond_the_deadline_ends_as_late(
    manage: Manage, root: str, command_package: Package
) -> None:
    """It returns, but its work is rolled back, and the reason is the deadline."""
    handle = """def handle(self, session) -> Result:
        import time
        session.execute(INSERT, {"note": "late"})
        time.sleep(0.3)
        return Result.changed("added", rows=1)
"""
    app = application(manage, root, command_package, handle)

    with pytest.raises(DeadlineReached):
        await call_command("add", app, timeout=0.1)

    assert [] == notes(manage)


@ON_SQLITE
@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ("session:maker", "is of the type async_sessionmaker, not a subclass of SQLAlchemy's"),
        ("engine_options:commits", "is of the type list, not a mapping"),
        ("engine_options:failing", "failed: "),
    ],
)
async def test_a_part_of_another_kind_is_an_error_of_the_project(
    manage: Manage, root: str, command_package: Package, part: str, problem: str
) -> None:
    """It is not said to be a bug of the command."""
    argument, _, name = part.partition(":")
    app = application(manage, root, command_package, PLAIN, **{argument: f"{NAME}.parts:{name}"})
    more = (
        "from sqlalchemy.ext.asyncio import async_sessionmaker\n"
        "maker = async_sessionmaker()\n"
        "def failing():\n    raise KeyError('x')\n"
    )
    command_package.write(parts=PARTS + more)

    with pytest.raises(ConfigurationError) as caught:
        await call_command("add", app)

    assert ("project-broken", True) == (caught.value.code, problem in caught.value.message)
