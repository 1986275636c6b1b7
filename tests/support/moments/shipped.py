"""Every command of oneoff and of the reference project, as a deed.

A run has done its work once if the database, Redis and the files are as after an undisturbed run.
Values that differ between two undisturbed runs, such as times, only have to be there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from oneoff import Access, BaseCommand, Confirm, DryRun
from oneoff.runtime.application import load_application
from oneoff.runtime.audit.abandoned import process_started
from tests.support.database import dump, query
from tests.support.moments.launch import ROOT, Ended, Launcher
from tests.support.moments.trial import Deed, Record, Repeat
from tests.support.samples import SAMPLES, SESSION, USERS, Sample
from tests.support.servers import Postgres, Proxy, Redis

NAME = "moments"
APP = load_application("app.project:project", str(ROOT))
NOT_TRIED = {
    "approval approve": "needs a second operator; writes one row like batch cancel",
    "approval reject": "writes one row like batch cancel",
    "approval request": "each run writes a row of its own; its dry run is disturbed elsewhere",
    "approval withdraw": "writes one row like batch cancel",
    "commands check": "reads only the code",
    "commands list": "reads only the code",
    "completion": "reads only the code",
    "config show": "reads only settings",
    "db backup": "writes a file through pg_dump; its own tests end pg_dump",
    "db restore": "replaces the database that the trial compares; its own tests end its programs",
    "hello": "uses no server",
}
"""Commands that are not disturbed, and why."""
EVENT = "INSERT INTO events (kind, at) "
OLD = f"sql {EVENT} SELECT 'x', '2020-01-01' FROM generate_series(1, 25)"
STOPPED = (OLD, "data cleanup --only events --max-rows 10 --confirm")
ALIVE = (
    "sql UPDATE oneoff_runs SET status = 'started', finished_at = NULL, exit_code = NULL, "
    f"pid = {os.getpid()}, process_started = '{process_started(os.getpid())}' "
    "WHERE id = (SELECT run_id FROM oneoff_batches)"
)
"""The record of a run then names this process, so the run counts as alive."""
WORKING = (ALIVE, "sql UPDATE oneoff_batches SET status = 'running'")
PAUSED = "sql UPDATE oneoff_batches SET status = 'paused', requested = 'pause'"
LOCALES = "sql UPDATE users SET accept_language = 'de'"
WORK: Mapping[str, Sample] = {
    "batch cancel": Sample(line="batch cancel {run}", setup=STOPPED),
    "batch pause": Sample(line="batch pause {run}", setup=(*STOPPED, *WORKING)),
    "batch resume": Sample(line="batch resume {run}", setup=(*STOPPED, *WORKING, PAUSED)),
    "data cleanup": Sample(line="data cleanup", setup=(OLD,)),
    "data transform": Sample(line="data transform fill-locale", setup=(*USERS, LOCALES)),
    "db migrate": Sample(line="db migrate", setup=("empty",)),
    "db shell": Sample(line=f"db shell --write -c \"{EVENT} VALUES ('x', now())\""),
    "shell": Sample(
        line=f"shell --write -c \"await session.execute(text('{EVENT} VALUES (1, now())'))\""
    ),
    "session list": Sample(line="session list", setup=(*USERS, SESSION)),
    "system environment": Sample(line="system environment set staging"),
}
"""Lines that have work to do, where those of the contract test find nothing to do."""
KEPT = frozenset({"oneoff_audit", "oneoff_runs", "oneoff_shell_inputs"})
"""Tables that are no work of a command."""

EFFECTS = "SELECT id, kind, payload, delivered_at FROM oneoff_outbox"
"""A delivery that was stopped may count as an attempt, and is repeated later."""
LATER = (
    "UPDATE oneoff_outbox SET claimed_until = NULL, created_at = created_at - interval '3 hours'"
)
"""The longest pause before an attempt is over."""
SKIP_NUMBERS = "SELECT nextval(oid::regclass) FROM pg_class WHERE relkind = 'S'"
"""A rollback does not give numbers of sequences back, so a repeated run uses later ones."""

State = dict[str, list[tuple[Any, ...]]]


class Shipped:
    """Makes deeds of the commands, on a database that it replaces by copies of prepared ones.

    Args:
        server: A PostgreSQL server.
        redis: A server without other keys.
        launcher: Starts processes.
        folder: A folder for a copy of the project, and for files.
        proxies: Their proxies, in this order.
    """

    def __init__(
        self,
        server: Postgres,
        redis: Redis,
        launcher: Launcher,
        folder: Path,
        proxies: tuple[Proxy, Proxy],
    ) -> None:
        self._server, self._redis, self._launcher = server, redis, launcher
        self._proxies = proxies
        database, cache = proxies
        self._project, self._files = folder / "project", folder / "files"
        for name in ("app", "commands", "migrations"):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, self._project / name, ignore=ignore)
        for name in ("manage.py", "alembic.ini"):
            shutil.copy(ROOT / name, self._project / name)
        self._url = server.url(NAME)
        self.environ = {
            **os.environ,
            "DATABASE_URL": database.url(self._url),
            "REDIS_URL": cache.url(redis.url),
            "ENVIRONMENT": "test",
            "OPERATOR": "tester",
            "MAIL_URL": f"file:{self._files / 'mail'}",
        }
        self._sql(f'CREATE DATABASE "{NAME}"')
        self._do("migrate")
        self._keep("at_head")

    def deed(self, name: str) -> Deed:
        """Prepare a command, run it undisturbed twice, and return it as a deed."""
        sample = WORK.get(name, SAMPLES[name])
        run = self._set_up(name, sample)
        command = APP.registry.load(APP.registry.find(name.split())[0])
        line = sample.line.format(tmp=self._files, run=run)
        words = [*shlex.split(line), *self._confirmation(command)]
        prepare = self._back_to_now(name)
        reads = command.access is Access.READ
        parts = "batches" in command.resources() or command.dry_run is not DryRun.ROLLBACK
        return Deed(
            words=words,
            cwd=self._project,
            environ=self.environ,
            proxies=self._proxies,
            count=self._count(name, words, prepare, reads=reads),
            record=lambda: self._record(name),
            prepare=prepare,
            wait=lambda: query(self._url, LATER) if _has_runs(self._url) else None,
            saves=not reads,
            writes="Traceback" if name == "shell" else "",  # that of the operator's code
            repeat=Repeat.REPEATABLE if reads or parts else Repeat.ROLLED_BACK,
        )

    def _back_to_now(self, name: str) -> Callable[[], None]:
        """Return a function that restores the present state."""
        keys = self._redis_state()
        files = _read(self._project), _read(self._files)

        def restore() -> None:
            self._sql(f'DROP DATABASE "{NAME}" WITH (FORCE)')
            self._sql(f'CREATE DATABASE "{NAME}" TEMPLATE "{name}"')
            self._redis.flush()
            for key, value in keys:
                self._redis.ask("RESTORE", key, 0, value)
            _write(self._project, files[0])
            _write(self._files, files[1])

        return restore

    def _count(
        self, name: str, words: list[str], prepare: Callable[[], None], *, reads: bool
    ) -> Callable[[str], int]:
        """Return a function that counts how often the work was done: 0, 1, or 2 if otherwise."""
        before = self._state(name)
        first = self._undisturbed(prepare, words, name)

        def prepare_otherwise() -> None:
            prepare()
            query(self._url, SKIP_NUMBERS)
            time.sleep(1)  # times without fractions must differ too

        second = self._undisturbed(prepare_otherwise, words, name)
        varying = _Varying(before, first[1], second[1])
        after = varying.mask(first[1])
        lines = len(first[0].stdout.splitlines())
        assert reads or before != after, f"{words} does nothing"

        def count(stdout: str) -> int:
            if reads:
                return int(len(stdout.splitlines()) == lines)
            now = varying.mask(self._state(name))
            return 0 if now == before else 1 if now == after else 2

        return count

    def _set_up(self, name: str, sample: Sample) -> str:
        """Bring everything into the state before the command, and keep it; return a run's id."""
        self._sql(f'DROP DATABASE IF EXISTS "{NAME}" WITH (FORCE)')
        template = "template1" if "empty" in sample.setup else "at_head"
        self._sql(f'CREATE DATABASE "{NAME}" TEMPLATE "{template}"')
        self._redis.flush()
        shutil.rmtree(self._files, ignore_errors=True)
        self._files.mkdir()
        for line in sample.setup:
            if line.startswith("sql "):
                query(self._url, line.removeprefix("sql "))
            elif line != "empty":
                self._do(line)
        last = "SELECT id FROM oneoff_runs ORDER BY started_at DESC LIMIT 1"
        found = query(self._url, last) if _has_runs(self._url) else []
        self._keep(name)
        return str(found[0][0]) if found else ""

    def _confirmation(self, command: type[BaseCommand]) -> tuple[str, ...]:
        name = "0" if command.aims_at == "redis" else NAME
        if command.confirm is Confirm.TYPE_NAME:
            return (f"--confirm={name}@test",)
        return ("--confirm",) if command.confirm is Confirm.PROMPT else ()

    def _undisturbed(
        self, prepare: Callable[[], None], words: list[str], name: str
    ) -> tuple[Ended, State]:
        prepare()
        started = self._launcher.start(words, cwd=self._project, environ=self.environ)
        ended = started.end()
        assert 0 == ended.code, (words, ended)
        return ended, self._state(name)

    def _do(self, line: str) -> None:
        words = shlex.split(line)
        ended = self._launcher.start(words, cwd=self._project, environ=self.environ).end()
        assert ended.code in {0, 75}, (words, ended)  # 75: a batch that was stopped by --max-rows

    def _state(self, name: str) -> State:
        rows = {table: found for table, found in dump(self._url).items() if table not in KEPT}
        if not name.startswith("batch "):
            rows.pop("oneoff_batches", None)
        if "oneoff_outbox" in rows:
            rows["oneoff_outbox"] = query(self._url, EFFECTS)
        files = [*_read(self._project).items(), *_read(self._files).items()]
        found = {**rows, "redis": list(self._redis_state()), "files": files}
        return {table: sorted(rows, key=repr) for table, rows in found.items()}

    def _redis_state(self) -> list[tuple[bytes, bytes]]:
        keys = sorted(self._redis.ask("KEYS", "*"))
        pairs = [(key, self._redis.ask("DUMP", key)) for key in keys]
        return [(key, value) for key, value in pairs if value is not None]

    def _record(self, name: str) -> Record:
        last = (
            "SELECT status, exit_code FROM oneoff_runs "
            f"WHERE command = '{name}' ORDER BY started_at DESC LIMIT 1"
        )
        found = query(self._url, last) if _has_runs(self._url) else []
        return Record(*found[0]) if found else Record()

    def _keep(self, template: str) -> None:
        self._sql(f'DROP DATABASE IF EXISTS "{template}"')
        self._sql(f'CREATE DATABASE "{template}" TEMPLATE "{NAME}"')

    def _sql(self, sql: str) -> None:
        self._server.admin.run(sql)


def _has_runs(url: str) -> bool:
    return query(url, "SELECT to_regclass('oneoff_runs')") != [(None,)]


class _Varying:
    """Masks values that differ between two undisturbed runs, unless they were there before.

    Args:
        before: The state before both runs.
        first: The state after the first.
        second: The state after the second.
    """

    def __init__(self, before: State, first: State, second: State) -> None:
        self._old: dict[str, dict[int, set[str]]] = {}
        for table in first:
            old = _columns(before.get(table, []))
            pairs = zip(_columns(first[table]), _columns(second.get(table, [])), strict=False)
            self._old[table] = {
                number: set(old[number]) if old else set()
                for number, (one, other) in enumerate(pairs)
                if one != other
            }

    def mask(self, state: State) -> State:
        """Return the state with the same text for all new values of such a column."""
        return {table: self._masked(table, rows) for table, rows in state.items()}

    def _masked(self, table: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        old = self._old.get(table, {})

        def masked(number: int, value: object) -> object:
            is_new = number in old and value is not None and repr(value) not in old[number]
            return "new" if is_new else value

        found = (tuple(masked(n, value) for n, value in enumerate(row)) for row in rows)
        return sorted(found, key=repr)


def _columns(rows: list[tuple[Any, ...]]) -> list[list[str]]:
    return [sorted(map(repr, column)) for column in zip(*rows, strict=True)]


def _read(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder that are not compiled code."""
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Let a folder have these files only."""
    for path in _read(folder).keys() - files.keys():
        Path(path).unlink()
    for path, data in files.items():
        if not Path(path).exists() or Path(path).read_bytes() != data:
            Path(path).write_bytes(data)
