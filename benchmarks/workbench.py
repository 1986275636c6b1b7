"""Provide interpreters, generated projects, databases and clean environment variables for rows."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import environments
import generate
import postgres
from environments import Environment
from errors import BenchmarkError
from measure import Case, check

FEW, MANY = 5, 500

LAST_FIELD = f"field_{generate.REVISIONS:03}"
LAST_FIELD_FOUND = """
    SELECT max(column_name) FROM information_schema.columns
    WHERE table_name = 'item' AND column_name LIKE 'field%'
"""


@dataclass(frozen=True)
class Side:
    """One framework: the trees of its project, and how its commands are started."""

    name: str
    trees: tuple[str, ...]
    launch: tuple[str, ...] = ("manage.py",)
    migrate: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)


OURS = Side("oneoff", ("revisions", "oneoff"), migrate=("migrate",))
WITH_RICH = replace(OURS, name="oneoff, with rich")
DJANGO = Side("django", ("django",), migrate=("migrate",))
LEAN_DJANGO = Side(
    "django, lean",
    ("django",),
    migrate=("migrate",),
    env={"DJANGO_SETTINGS_MODULE": "mysite.lean"},
)
FLASK = Side(
    "flask-migrate",
    ("revisions", "flask"),
    ("-m", "flask", "--app", "app"),
    migrate=("db", "upgrade"),
)
ALEMBIC = Side(
    "alembic", ("revisions", "alembic_sync"), ("-m", "alembic"), migrate=("upgrade", "head")
)
ASYNC_ALEMBIC = Side(
    "alembic, async", ("revisions", "alembic_async"), ("-m", "alembic"), migrate=("upgrade", "head")
)
TYPER = Side("typer", ("typer",))
CLICK = Side("click, lazy", ("click",))
CYCLOPTS = Side("cyclopts, lazy", ("cyclopts",))


@dataclass
class Workbench:
    """A temporary folder with the projects. Each is created when a row first needs it."""

    folder: Path
    peers: Environment
    ours: Environment | None  # None: only the peers are measured
    server: postgres.Server | None = None  # None: no row needs a database
    _migrated: set[str] = field(default_factory=set)

    def environment(self, side: Side) -> Environment:
        """Return the virtual environment of a side."""
        environment = self.ours if side in (OURS, WITH_RICH) else self.peers
        if side is WITH_RICH:
            environment = environments.ours_with_rich(self.peers)
        if environment is None:
            raise BenchmarkError(f"{side.name} is not measured in this run")
        return environment

    def case(
        self,
        side: Side,
        *arguments: str,
        expect: str,
        commands: int = MANY,
        label: str | None = None,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> Case:
        """Return a command line of a side, in its project with this many commands."""
        return Case(
            side=label or side.name,
            argv=(str(self.environment(side).python), *side.launch, *arguments),
            cwd=self._project(side, commands),
            env=self._variables(side) | dict(env),
            expect=expect,
        )

    def migrated(self, side: Side, *arguments: str, expect: str) -> Case:
        """Return a command line that uses the side's database, after migrating it."""
        if self.server is None:
            raise BenchmarkError(f"{side.name} needs a PostgreSQL server")
        database = side.name.replace(", ", "_")
        settings = {"DATABASE_URL": self.server.url(database)}
        if side.name not in self._migrated:
            self._migrated.add(side.name)
            self.server.create_database(database)
            check(self.case(side, *side.migrate, expect="", env=settings))
            if self.server.query(database, LAST_FIELD_FOUND) != LAST_FIELD:
                raise BenchmarkError(f"{side.name} migrated without reaching the last revision")
        return self.case(side, *arguments, expect=expect, env=settings)

    def _project(self, side: Side, commands: int) -> Path:
        target = self.folder / f"{'-'.join(side.trees)}-{commands}"
        if not target.exists():
            generate.project(target, side.trees, commands)
            environments.byte_compile(self.environment(side), target)
        return target

    def _variables(self, side: Side) -> dict[str, str]:
        """Return only the variables that a process needs, without PYTHON* variables."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "ENVIRONMENT": "development",
            **side.env,
        }


@contextmanager
def opened(folder: Path, *, with_ours: bool, with_database: bool) -> Iterator[Workbench]:
    """Create the environments, start the server if a row needs it, and yield the workbench."""
    peers = environments.peers()
    bench = Workbench(folder, peers, environments.ours(peers) if with_ours else None)
    if not with_database:
        yield bench
        return
    with postgres.running(folder) as server:
        bench.server = server
        yield bench
