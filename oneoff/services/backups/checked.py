"""Check before a restore that a backup is complete, of this database, and not too new."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from oneoff.config.environment import Facts
from oneoff.core.errors import CommandError, Refused
from oneoff.database.schema.facts import HEAD
from oneoff.services.backups.client_programs import (
    Program,
    find_program,
    output_of,
    server_version,
)
from oneoff.services.backups.manifest import (
    Manifest,
    absolute,
    bad_backup,
    check_hash,
    newer_backup,
    read_manifest,
)
from oneoff.services.backups.own_backups import was_made_here
from oneoff.services.backups.sqlite_file import check_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oneoff.database.engine import Database
    from oneoff.services.migrations.resource import Migrations


class Target(NamedTuple):
    """The database to restore into.

    Attributes:
        database: The database, reached without a connection pooler.
        migrations: The project's revisions; None if it has none.
        project: The name of the project.
        environ: The variables of this process.
        from_copy: Whether the backup may be one of another database.
        end_sessions: Whether sessions of others are ended.
    """

    database: Database
    migrations: Migrations | None
    project: str
    environ: Mapping[str, str]
    from_copy: bool = False
    end_sessions: bool = False

    @property
    def here(self) -> Facts:
        """The facts of the database."""
        return self.database.facts or Facts(self.database.url.name)


class Checked(NamedTuple):
    """A backup that can be restored.

    Attributes:
        path: Its absolute path.
        manifest: What it contains.
        same: Whether it is a backup of the target itself.
        entries: The lines of the list of contents of pg_restore; none for SQLite.
        pg_restore: The program; None for SQLite.
    """

    path: str
    manifest: Manifest
    same: bool
    entries: Sequence[str] = ()
    pg_restore: Program | None = None


async def check_backup_file(path: str, target: Target) -> Checked:
    """Check that a backup is complete, belongs to this project, and that this code can use it.

    Raises:
        DataError: It is damaged, of another kind of database, or newer than this code or server.
        Refused: It is a backup of another database, and `from_copy` was not given.
    """
    manifest = read_manifest(path)
    _check_origin(path, manifest, target)
    same = await _is_same(manifest, target)
    if not same and not target.from_copy:
        raise _foreign(path, manifest, target)
    _check_age(path, manifest, target)
    await check_hash(path, manifest)
    path = absolute(path)
    if manifest.kind == "sqlite":
        await check_file(path)
        return Checked(path, manifest, same)
    async with target.database.connect("restore") as connection:
        server = await server_version(connection, target.database.url) // 10_000
    if manifest.server // 10_000 > server:
        raise newer_backup(
            f"{path} is of PostgreSQL {manifest.server // 10_000}, and the server has {server}",
            "an older server may not have what the backup uses",
            "restore it into a server that is not older",
        )
    program = await find_program("pg_restore", server, target.environ)
    try:
        entries = await output_of(program, ["--list", path], target.environ)
    except CommandError as exc:
        raise bad_backup(f"{path} can't be read by pg_restore {program.version}", exc.why) from exc
    lines = [line for line in entries.splitlines() if line and not line.startswith(";")]
    return Checked(path, manifest, same, lines, program)


def _check_origin(path: str, manifest: Manifest, target: Target) -> None:
    here = target.database.url.dialect
    if manifest.kind != here:
        raise bad_backup(f"{path} is a backup of {manifest.kind}", f"this database is {here}")
    if manifest.project != target.project:
        raise Refused(
            f"{path} is a backup of the project {manifest.project}",
            why=f"this is the project {target.project}",
            try_="run the command in the folder of that project",
            code="foreign-backup",
        )


async def _is_same(manifest: Manifest, target: Target) -> bool:
    here, database = target.here.identity, target.database
    # Without the identity of the server, databases of two servers may have the same one.
    if here == manifest.identity and here and not here.startswith(("/", "@")):
        return True
    return database.url.exists() and await was_made_here(database, manifest.run)


def _foreign(path: str, manifest: Manifest, target: Target) -> Refused:
    return Refused(
        f"{path} is a backup of another database: {manifest.database} in {manifest.environment}",
        why=f"{target.database.url.safe()} is not the database that it was made of",
        try_="to make this database a copy of it, add --from-copy",
        code="foreign-backup",
    )


def _check_age(path: str, manifest: Manifest, target: Target) -> None:
    if manifest.schema > HEAD:
        raise newer_backup(
            f"{path} was made by oneoff {manifest.oneoff}",
            f"its framework tables are at {manifest.schema}, and this version knows {HEAD}",
            "install that version of oneoff",
        )
    history = target.migrations.history if target.migrations else None
    known = {revision.id for revision in history.all()} if history else set()
    unknown = sorted(set(manifest.revisions) - known)
    if unknown:
        version = f" (commit {manifest.code_version[:12]})" if manifest.code_version else ""
        raise newer_backup(
            f"{path} is at revision {', '.join(unknown)}, which this code does not have",
            "other code made it",
            f"run the command with the code that made it{version}",
        )
    if manifest.kind == "sqlite":
        here = sqlite3.sqlite_version_info
        if manifest.server // 1_000_000 > here[0]:
            raise newer_backup(
                f"{path} is of a newer SQLite", f"here is {sqlite3.sqlite_version}", "upgrade it"
            )
