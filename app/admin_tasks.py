"""The admin tasks that are built-in commands, and the checks of all admin tasks.

The project's own commands declare their tasks themselves. Commands import this module for `--help`
too, so its functions import what they need.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneoff import CheckFailed, Task, counted, duration_text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

LIVE = ("staging", "production")
OLD = timedelta(minutes=5)
LOCKING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND xact_start < now() - CAST(:age AS interval) AND pid IN (
    SELECT pid FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE relkind IN ('r', 'p') AND relnamespace <> 'pg_catalog'::regnamespace
)
ORDER BY pid
"""
"""The server processes with a transaction of a certain age that has locked tables."""


async def no_old_transaction(session: AsyncSession) -> None:
    """Check that no old transaction has locked a table: a migration would wait for it."""
    from sqlalchemy import text

    if session.get_bind().dialect.name != "postgresql":
        return
    found = await session.execute(text(LOCKING), {"age": OLD})
    if pids := list(found.scalars()):
        raise CheckFailed(
            f"{counted(len(pids), 'transaction')} open for more than {duration_text(OLD)}: "
            f"process {', '.join(map(str, pids))} of the server",
            why="a migration would wait for its locks, and the application for the migration",
            try_="end that session, or wait until it ends",
        )


async def nothing_pending(migrations: Any, command: Any) -> None:
    """Check that the database is at the newest revision, if the line names no other."""
    if command.revision in ("head", "heads") and not await migrations.head_if_applied():
        raise CheckFailed("revisions are pending", try_="python manage.py db status")


async def last_revision_pending(migrations: Any) -> None:
    """Check that the newest revision is not applied."""
    if await migrations.head_if_applied():
        raise CheckFailed("the newest revision is still applied", try_="python manage.py db status")


async def every_locale_filled(session: AsyncSession) -> None:
    """Check that every user with a stored Accept-Language has a locale."""
    from sqlalchemy import func, select

    from app.models import User

    unfilled = User.locale.is_(None) & User.accept_language.is_not(None)
    if left := await session.scalar(select(func.count()).select_from(User).where(unfilled)):
        raise CheckFailed(
            f"{counted(left, 'user')} without a locale",
            why="they signed in while the transform ran",
            try_="python manage.py data transform fill-locale --confirm",
        )


async def no_locale_left(session: AsyncSession) -> None:
    """Check that no user has a locale."""
    from sqlalchemy import func, select

    from app.models import User

    filled = select(func.count()).select_from(User).where(User.locale.is_not(None))
    if left := await session.scalar(filled):
        raise CheckFailed(
            f"{counted(left, 'user')} with a locale",
            try_="python manage.py data transform fill-locale --revert --confirm",
        )


async def backup_has_its_size(result: Any) -> None:
    """Check that the file of the backup is as large as its manifest says."""
    path = Path(result.data["path"])
    size = path.stat().st_size  # noqa: ASYNC240 - the run waits for nothing else
    if size != result.data["size"]:
        raise CheckFailed(f"{path} has {size:,} bytes instead of {result.data['size']:,}")


MIGRATE = Task(
    "ADM-001",
    category="migration",
    owner="Platform",
    author="Platform",
    created="2026-01-12",
    invoked_by="the release phase of each deployment, or a platform engineer",
    approval="automatic after the pull request with the revision was reviewed",
    environments=LIVE,
    services=("PostgreSQL",),
    data={"the tables of the pending revisions": "all rows, if a revision rewrites the table"},
    image="the image of the release",
    compute="0.5 CPU, 512 MB",
    expected_duration="seconds; minutes if a revision builds an index",
    rollback="db rollback --steps 1",
    checks=(no_old_transaction,),
    verify=nothing_pending,
    afterwards="`system health` is green, and the rate of errors does not rise",
)
ROLLBACK = Task(
    "ADM-001-revert",
    category="migration",
    owner="Platform",
    author="Platform",
    created="2026-01-12",
    invoked_by="a platform engineer, if a release has to be undone",
    approval="the engineer on call",
    environments=LIVE,
    services=("PostgreSQL", "web", "worker"),
    data={"the tables of the newest revision": "all rows, if it drops a column or a table"},
    image="the image of the release that is undone: it holds the revision",
    compute="0.5 CPU, 512 MB",
    expected_duration="seconds",
    command="db rollback --steps 1",
    rollback="db migrate",
    # `db rollback` itself wants a recent backup.
    checks=(no_old_transaction,),
    verify=last_revision_pending,
    afterwards="deploy the release before, whose code expects the older schema",
)
CLEANUP = Task(
    "ADM-004",
    category="maintenance",
    owner="Data protection",
    author="Platform",
    created="2026-01-12",
    invoked_by="a schedule, each night",
    approval="standing: the retention rules were approved with their pull request",
    environments=LIVE,
    services=("PostgreSQL",),
    data={
        "events": "those of a day",
        "sessions": "those of a day",
        "api_keys": "a few",
    },
    expected_duration="up to 30 minutes",
    command="data cleanup --max-time 30m --confirm",
    irreversible="the rows must be gone; a backup still has them until it is deleted itself",
    afterwards="the number of deleted rows is that of a usual day",
)
CLEAR_CACHE = Task(
    "ADM-005",
    category="emergency",
    owner="Platform",
    author="Platform",
    created="2026-01-12",
    invoked_by="the engineer on call, if the cache holds wrong values",
    approval="none before; the team lead reviews the record afterwards",
    environments=LIVE,
    services=("Redis", "web"),
    expected_duration="seconds",
    command="cache clear --prefix shop: --confirm",
    irreversible="the cache fills again by itself; `cache warm` does it at once",
    afterwards="response times are as before after a few minutes",
)
MAINTENANCE = Task(
    "ADM-008",
    category="maintenance",
    owner="Platform",
    author="Platform",
    created="2026-01-12",
    invoked_by="a platform engineer, before work that the application must not see",
    approval="announced to support a day before",
    environments=LIVE,
    services=("web", "worker"),
    expected_duration="seconds; the window lasts until it is ended, or expires",
    command='system maintenance on --expires 2h --reason "REASON" --confirm',
    rollback="system maintenance off --confirm",
    afterwards="the window has ended: `system maintenance status`",
)
EXPORT_USERS = Task(
    "ADM-009",
    category="analytics",
    owner="Data protection",
    author="Analytics",
    created="2026-01-12",
    invoked_by="an analyst",
    approval="not needed: personal data is masked",
    environments=LIVE,
    data={"users": "all"},
    expected_duration="a minute for a million users",
    command="data export users --format csv -o users.csv",
)
BACKUP = Task(
    "ADM-011",
    category="backup",
    owner="Platform",
    author="Platform",
    created="2026-01-12",
    invoked_by="a platform engineer, before each task that changes much data",
    approval="not needed: it only reads",
    environments=LIVE,
    services=("PostgreSQL",),
    data={"all tables": "all"},
    image="an image with pg_dump, not older than the server",
    compute="1 CPU, 512 MB, and a volume as large as the database",
    expected_duration="a minute for each gigabyte",
    command="db backup -o /backups/shop.dump",
    verify=backup_has_its_size,
    afterwards="copy the file and its manifest to the storage of backups",
)
