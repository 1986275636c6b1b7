"""Write a backup and its manifest. Neither file appears unless both are complete."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from oneoff.config.operator_identity import code_version
from oneoff.core.errors import CommandError, NotFound, TemporaryError
from oneoff.services.backups.client_programs import (
    Program,
    find_program,
    run_program,
    server_version,
)
from oneoff.services.backups.manifest import SUFFIX, Manifest, absolute, hash_file
from oneoff.services.backups.sqlite_file import copy_file
from oneoff.services.data.files import atomic_file, removed_warning
from oneoff.services.shell.database_client import libpq_environ
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oneoff.config.settings import Config
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.services.data.partial_files import PartialFile
    from oneoff.services.migrations.resource import Migrations

_ZSTD_SINCE = 16  # version of pg_dump
_SUFFIXES = {"postgresql": "dump", "sqlite": "sqlite3"}
_SCHEMA = "SELECT max(version_num) FROM oneoff_alembic_version"


class Backup(NamedTuple):
    """A backup that was made.

    Attributes:
        path: Its absolute path.
        manifest: The content of the manifest beside it.
        warnings: Messages for the operator.
    """

    path: str
    manifest: Manifest
    warnings: list[str]

    @property
    def summary(self) -> str:
        """One line for the operator and the record, which `required` reads."""
        return (
            f"backed up {self.manifest.database} to {self.path} "
            f"({self.manifest.size:,} bytes, sha256 {self.manifest.sha256})"
        )


class Source(NamedTuple):
    """The database to back up, and what its manifest says about the run.

    Attributes:
        database: The database, reached without a connection pooler.
        migrations: The project's revisions; None if it has none.
        config: The settings.
        run: The run.
        version: The version of oneoff.
    """

    database: Database
    migrations: Migrations | None
    config: Config
    run: Run
    version: str


def default_path(database: Database, environment: str, now: datetime) -> str:
    """Return the name of a backup in the current folder: shop-staging-20260131T093000Z.dump."""
    kind = database.url.dialect
    name = database.url.name.replace("/", "_")
    return f"{name}-{environment}-{now:%Y%m%dT%H%M%SZ}.{_SUFFIXES[kind]}"


async def back_up(source: Source, path: str, *, overwrite: bool) -> Backup:
    """Write a backup and its manifest.

    Args:
        source: The database.
        path: The file. The manifest's name is the same with `.json`.
        overwrite: Whether existing files may be replaced.

    Raises:
        CommandError: A file exists or can't be written, or the dump failed. Nothing is left of it.
        ConfigurationError: There is no pg_dump that can read the server.
    """
    if not source.database.url.exists():
        raise NotFound("there is no database to back up", why="the SQLite file does not exist")
    path, before = absolute(path), await _state(source)
    with ExitStack() as undo:
        async with (
            atomic_file(path + SUFFIX, overwrite=overwrite) as described,
            atomic_file(path, overwrite=overwrite) as file,
        ):
            await _dump(source, file, before.server)
            if await _state(source) != before:
                raise _changed_meanwhile(source)
            manifest = await _describe(source, before, file.path)
            os.write(described.descriptor, manifest.to_json().encode())
            # From the first name to the second one, as little as possible must be able to fail.
            os.fsync(described.descriptor)
            undo.enter_context(_put_back_on_error(path, file))
            undo.enter_context(_put_back_on_error(path + SUFFIX, described))
    warnings = removed_warning([*file.removed, *described.removed])
    return Backup(path, manifest, warnings)


@contextmanager
def _put_back_on_error(path: str, file: PartialFile) -> Iterator[None]:
    """If the block fails, undo that a file has got this name, also if it replaced another one.

    Until the end, the old file has a second name. If the process is killed, it keeps that name: no
    later run removes it, because it may be the only complete backup.
    """
    place = os.path.realpath(path)
    new = os.fstat(file.descriptor)
    old = Path(f"{place}.{secrets.token_hex(4)}.old")
    with suppress(FileNotFoundError):  # there may be no old file
        try:
            os.link(place, old)
        except OSError:  # a file system without hard links
            os.replace(place, old)
    try:
        yield
    except BaseException:
        if os.path.exists(place) and os.path.samestat(new, os.stat(place)):
            os.unlink(place)
        if old.exists() and not os.path.exists(place):
            old.rename(place)
        old.unlink(missing_ok=True)
        raise
    old.unlink(missing_ok=True)


class _State(NamedTuple):
    """What the manifest says about the schema. It must not change during the dump."""

    server: int
    schema: str
    revisions: tuple[str, ...]


async def _state(source: Source) -> _State:
    revisions = await source.migrations.current() if source.migrations else ()
    async with source.database.connect("backup") as connection:
        if source.database.url.dialect == "sqlite":
            server = sqlite3.sqlite_version_info
            version = server[0] * 1_000_000 + server[1] * 1_000 + server[2]
            table = "SELECT count(*) FROM sqlite_master WHERE name = 'oneoff_alembic_version'"
        else:
            version = await server_version(connection, source.database.url)
            table = "SELECT to_regclass('oneoff_alembic_version')::text"
        exists = (await connection.exec_driver_sql(table)).scalar_one()
        schema = (await connection.exec_driver_sql(_SCHEMA)).scalar_one() if exists else ""
    return _State(version, schema or "", revisions)


async def _describe(source: Source, state: _State, path: str) -> Manifest:
    facts = source.database.facts
    return Manifest(
        kind=source.database.url.dialect,
        project=source.config.project.name,
        database=source.database.url.name,
        identity=facts.identity if facts else "",
        environment=source.run.environment,
        revisions=state.revisions,
        schema=state.schema,
        code_version=code_version(source.config.environ, source.config.root),
        oneoff=source.version,
        server=state.server,
        sha256=await in_daemon_thread(lambda: hash_file(path)),
        size=os.stat(path).st_size,
        made_at=source.run.started_at,
        run=source.run.id,
    )


async def _dump(source: Source, file: PartialFile, server: int) -> None:
    url = source.database.url
    if url.dialect == "sqlite":
        await copy_file(url.database, file.path, alone=True)
        return
    environ = libpq_environ(url, source.config.environ)
    program = await find_program("pg_dump", server // 10_000, source.config.environ)
    arguments = ["--format=custom", "--no-password"]
    if program.version >= _ZSTD_SINCE:
        try:
            await _write(file, program, [*arguments, "--compress=zstd"], environ)
        except CommandError as exc:
            if "zstd" not in exc.why:  # it may have been built without it
                raise
        else:
            return
    await _write(file, program, arguments, environ)


async def _write(
    file: PartialFile, program: Program, arguments: list[str], environ: Mapping[str, str]
) -> None:
    os.ftruncate(file.descriptor, 0)
    os.lseek(file.descriptor, 0, os.SEEK_SET)
    await run_program(program, arguments, environ, stdout=file.descriptor)


def _changed_meanwhile(source: Source) -> TemporaryError:
    return TemporaryError(
        f"the schema of {source.database.url.name} changed while it was backed up",
        why="a migration ran at the same time, so it is not known which revision the backup has",
        try_="run the command again",
        code="schema-changed",
    )
