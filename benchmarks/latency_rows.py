"""The rows of the comparison far from the database: commands, peers and goals."""

import re
import shutil
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import environments
from environments import REPOSITORY
from measure import Case, check
from workbench import ASYNC_ALEMBIC, DJANGO, FEW, FLASK, OURS, Side, Workbench

sys.path.insert(0, str(REPOSITORY))

from tests.support.servers import Postgres

FRAMEWORK_REVISIONS = len(list((REPOSITORY / "oneoff/database/schema/versions").glob("v*.py")))
REVISIONS = len(list((REPOSITORY / "migrations/versions").glob("0*.py")))
USERS = ("ada", "bob")
ADA_IS_A_USER = "UPDATE users SET role = 'user' WHERE username = 'ada'"
FIRST_APPLIED, EMPTY, MIGRATED = "first revision", "empty", "migrated"


@dataclass(frozen=True)
class Goal:
    """A limit: our maximum of bursts, or fewer bursts than a peer, or a maximum of our time.

    `ratio` is our time divided by Django's, with a round trip of 25 ms.
    """

    bursts: int | None = None
    fewer_than: str | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Row:
    """A command of ours with its peers.

    Attributes:
        start: The state of the database at the start of each run.
        reset: A statement for our database before each run.
    """

    name: str
    title: str
    words: tuple[str, ...]
    expect: str
    goals: tuple[Goal, ...] = ()
    peers: tuple[tuple[Side, tuple[str, ...], str], ...] = ()
    start: str = MIGRATED
    reset: str = ""


class Databases:
    """Databases of each side in each state, copied from templates.

    Args:
        bench: The projects of all sides.
        server: The server of all databases.
        port: The port of the proxy, for the commands that are measured.
        env: Variables of all commands.
    """

    def __init__(self, bench: Workbench, server: Postgres, port: int, env: dict[str, str]) -> None:
        self._bench, self._server, self._port, self._env = bench, server, port, env
        self._made: set[str] = set()

    def cases(self, row: Row) -> list[Case]:
        """Return the case of our side and of each peer."""
        ours = self._case(OURS, row.words, row.expect, row)
        return [ours, *(self._case(side, words, expect, row) for side, words, expect in row.peers)]

    def _case(self, side: Side, words: tuple[str, ...], expect: str, row: Row) -> Case:
        # A copy of a migrated database would not do: ours notices that it is a copy.
        name = _database(side, row.start)

        def before() -> None:
            if row.start != MIGRATED or name not in self._made:
                self._create(side, row.start, name)
            if row.reset and side is OURS:
                self._server.psql(row.reset, name)

        forbid = "Running upgrade" if side is ASYNC_ALEMBIC and row.start == MIGRATED else None
        case = self._command(side, words, expect, self._port, name)
        return replace(case, forbid=forbid, before=before)

    def _create(self, side: Side, state: str, name: str) -> None:
        self._made.add(name)
        self._server.admin.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._server.admin.run(f'CREATE DATABASE "{name}"')
        for words in _preparation(side, state):
            check(self._command(side, words, "", self._server.port, name))

    def _command(
        self, side: Side, words: tuple[str, ...], expect: str, port: int, database: str
    ) -> Case:
        url = f"postgres://{self._server.user}@127.0.0.1:{port}/{database}"
        env = {"DATABASE_URL": url, **self._env}
        case = self._bench.case(side, *words, expect=expect, commands=FEW, env=env)
        return replace(case, cwd=self._reference_project) if side is OURS else case

    @cached_property
    def _reference_project(self) -> Path:
        folder = self._bench.folder / "reference"
        for tree in ("app", "commands", "migrations"):
            shutil.copytree(REPOSITORY / tree, folder / tree)
        shutil.copy(REPOSITORY / "manage.py", folder)
        environments.byte_compile(self._bench.environment(OURS), folder)
        return folder


def _database(side: Side, what: str) -> str:
    return re.sub(r"[^a-z]+", "_", f"{side.name} {what}")


def _preparation(side: Side, state: str) -> list[tuple[str, ...]]:
    if state == EMPTY:
        return []
    if state == FIRST_APPLIED:
        return [("migrate", "--revision", "0001")]
    create = {
        OURS.name: "user create {0} {0}@example.com --generate-password",
        DJANGO.name: "createsuperuser --no-input --username {0} --email {0}@example.com",
    }.get(side.name)
    users = [tuple(create.format(name).split()) for name in USERS] if create else []
    return [side.migrate, *users]


ALEMBIC_UPGRADE = (ASYNC_ALEMBIC, ASYNC_ALEMBIC.migrate, "")
FLASK_UPGRADE = (FLASK, FLASK.migrate, "")
ROWS = (
    Row(
        "list",
        "user list",
        ("user", "list"),
        "of 2 users",
        (Goal(bursts=18), Goal(ratio=1.5)),
        ((DJANGO, ("user_list",), "of 2 users"),),
    ),
    Row(
        "promote",
        "user promote --confirm",
        ("user", "promote", "ada", "admin", "--confirm"),
        "ada is now admin",
        (Goal(bursts=26),),
        reset=ADA_IS_A_USER,
    ),
    Row(
        "promote-dry",
        "user promote --dry-run",
        ("user", "promote", "ada", "admin", "--dry-run"),
        "ada is now admin",
        (Goal(bursts=32),),
        reset=ADA_IS_A_USER,
    ),
    Row(
        "migrate",
        "migrate, nothing to do",
        ("migrate",),
        "nothing to do",
        (Goal(bursts=18), Goal(fewer_than=ASYNC_ALEMBIC.name)),
        (
            ALEMBIC_UPGRADE,
            (DJANGO, ("migrate",), "No migrations to apply."),
            FLASK_UPGRADE,
        ),
    ),
    Row(
        "migrate-first",
        f"migrate, first: {REVISIONS} revisions",
        ("migrate",),
        f"applied {REVISIONS} revisions",
        peers=(ALEMBIC_UPGRADE, (DJANGO, ("migrate",), "Applying"), FLASK_UPGRADE),
        start=EMPTY,
    ),
    Row(
        "migrate-rest",
        f"migrate, the last {REVISIONS - 1} of them",
        ("migrate",),
        f"applied {REVISIONS - 1} revisions",
        start=FIRST_APPLIED,
    ),
    Row("status", "db status", ("db", "status"), "no drift", (Goal(bursts=28),)),
    Row("health", "system health", ("system", "health"), "at head", (Goal(bursts=28),)),
    Row(
        "cleanup",
        "data cleanup, nothing to delete",
        ("data", "cleanup", "--confirm"),
        "nothing to do",
        (Goal(bursts=45),),
    ),
)
