"""The tab key offers names from the database and of the project, or nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from app.models import User
from oneoff.cli.dispatch import Page, dispatch
from oneoff.runtime import signals
from oneoff.runtime.application import load_application
from oneoff.services.help import names
from oneoff.testing import Manage
from tests.support.fixture_types import MakeUser, Sessions
from tests.support.on_sqlite import ON_SQLITE
from tests.support.servers import Postgres, Proxy

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

ROOT = Path(__file__).parents[2]
ENDED = threading.Event()


def broken(prefix: str) -> list[str]:
    """Fail to find names, because of a bug."""
    return [{"a": "ada"}[prefix]]


async def broken_query(connection: AsyncConnection) -> list[str]:
    """Fail beside the database."""
    raise KeyError(str(connection))


def numbers() -> list[int]:
    """Return what are no names."""
    return [1]


def leaving() -> list[str]:
    """End the process with a text."""
    raise SystemExit("no names")


def slow() -> list[str]:
    """Return a name when the process would have been ended."""
    return ["ada"] if ENDED.wait(10) else ["waited"]


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the database be slow: a late answer would end the process of the tests."""
    monkeypatch.setattr(names, "ANSWER_SECONDS", 60)


async def offered(environ: dict[str, str], line: str) -> list[str]:
    """Press the tab key at the end of a line."""
    app = load_application("app.project:project", str(ROOT), environ)
    words = ["completion", "candidates", "--", *line.split(" ")]
    page = await asyncio.to_thread(dispatch, app, words, "manage.py")
    assert isinstance(page, Page)
    return page.text.splitlines()


async def test_names_from_the_database_are_offered(
    manage: Manage, manage_environ: dict[str, str], make_user: MakeUser
) -> None:
    """Of users, service accounts and tables, for arguments and options."""
    await make_user("ada")
    await make_user("grace")
    assert 0 == (await manage("service-account create ci")).exit_code
    expected = {
        "user show ": ["ada", "grace"],
        "user promote g": ["grace"],
        "user promote ada mod": ["moderator"],
        "user show %": [],
        "apikey list --user A": [],
        "apikey list --user a": ["ada"],
        "apikey list --user=a": ["--user=ada"],
        "apikey create --service-account ": ["ci"],
        "service-account deactivate c": ["ci"],
        "session list --user gr": ["grace"],
        "data export user": ["users"],
        "data import sess": ["sessions"],
    }

    assert expected == {line: await offered(manage_environ, line) for line in expected}


async def test_a_name_that_a_shell_would_read_is_not_offered(
    manage_environ: dict[str, str], make_user: MakeUser, sessions: Sessions
) -> None:
    """The shell inserts what is offered into the line, as it is."""
    for name in ("ada", "grace", "bob"):
        await make_user(name)
    async with sessions() as session, session.begin():
        for name, bad in (("grace", "$(reboot)"), ("bob", "-x")):
            await session.execute(update(User).where(User.username == name).values(username=bad))

    assert ["ada"] == await offered(manage_environ, "user show ")


async def test_numbers_of_tasks_are_offered_without_a_database() -> None:
    """They are declared in the code."""
    environ = {"DATABASE_URL": "postgresql://nobody@localhost:1/none"}

    assert ["ADM-002", "ADM-002-revert"] == await offered(environ, "task show ADM-002")


async def test_a_database_that_does_not_answer_offers_nothing(
    tmp_path: Path, postgres_server: Postgres, postgres_url: str
) -> None:
    """Nothing listens, the password is wrong, the URL is wrong, or there are no tables."""
    address = postgres_server.url("none").rpartition("@")[2]
    urls = {
        "nothing listens": "postgresql://nobody@localhost:1/none",
        "no such user": f"postgresql://nobody:wrong@{address}",
        "no URL": "postgresql://[",
        "no tables": postgres_url,
        "no file": f"sqlite:///{tmp_path}/none.sqlite3",
    }

    found = {why: await offered({"DATABASE_URL": url}, "user show ") for why, url in urls.items()}

    assert {why: [] for why in urls} == found
    assert [] == os.listdir(tmp_path)  # noqa: PTH208 - not blocking for long


@ON_SQLITE
@pytest.mark.parametrize("function", ["broken", "broken_query", "numbers", "leaving"])
def test_an_error_of_the_function_offers_nothing(
    manage_environ: dict[str, str], function: str
) -> None:
    """Whatever it raises or returns: an error page would destroy the line."""
    app = load_application("app.project:project", str(ROOT), manage_environ)

    assert [] == list(names.names(app, f"{__name__}:{function}", "x"))


def test_a_plain_function_has_a_deadline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tab key would be blocked until it returns."""
    monkeypatch.setattr(names, "ANSWER_SECONDS", 0)
    monkeypatch.setattr(names, "LATE_SECONDS", 0.01)
    monkeypatch.setattr(signals, "end_quietly", ENDED.set)
    app = load_application("app.project:project", str(ROOT), {})

    assert ["ada"] == names.names(app, f"{__name__}:slow", "")


def test_the_process_ends_if_something_blocks_after_the_deadline() -> None:
    """Such as the look-up of a host's name, which can't be cancelled."""
    ended = threading.Event()

    with signals.deadline(0, 0.01, ended.set):
        assert ended.wait(60)


def test_a_late_answer_is_not_waited_for(postgres_proxy: Proxy, postgres_url: str) -> None:
    """The process ends without output and without an error."""
    postgres_proxy.half_open()
    environ = {**os.environ, "DATABASE_URL": postgres_proxy.url(postgres_url)}

    done = subprocess.run(
        [sys.executable, "manage.py", "completion", "candidates", "--", "user", "show", ""],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=10,  # the driver itself would wait for 15
        check=False,
    )

    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)
