"""The tasks of the worker. ARQ may run a task more than once, so each task is idempotent.

`ctx` is ARQ's dictionary. `app.worker.start` puts `application`, `database` and `mailer` into it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import structlog
from arq import Retry

from app import reports
from app.mailer import Mail
from app.models import SentMail, User
from app.outbox import HANDLERS
from app.upsert import insert
from oneoff import NotFound, TemporaryError, Unavailable, call_command, deliver_effects

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.mailer import Mailer
    from oneoff.integrations.arq import PooledDatabase

Context = dict[Any, Any]

WELCOME = "welcome"
PAUSE = 10.0
"""Seconds until a mail is sent again after the first failure; the pause grows with each try."""

DELIVERY = 50.0
"""Seconds after which a delivery starts no other effect, because the task runs every minute."""

_log = structlog.get_logger(__name__)


async def send_welcome_mail(ctx: Context, user_id: int) -> dict[str, Any]:
    """Send a user the welcome mail, unless it was already sent.

    Raises:
        NotFound: The user does not exist.
        Retry: The mail server is not available; ARQ runs the task again.
    """
    database: PooledDatabase = ctx["database"]
    mailer: Mailer = ctx["mailer"]
    try:
        async with database.session() as session:
            user = await session.get(User, user_id)
            if user is None:
                raise NotFound(f"there is no user {user_id}", code="user-not-found")
            if not await _claim(session, user_id, WELCOME):
                return {"user_id": user_id, "sent": False}
            # Send before the commit: if the worker dies in between, the mail is sent again. In the
            # other order it would be lost.
            await mailer.send(_welcome(user))
    except (Unavailable, TemporaryError) as exc:
        _log.warning("mail.postponed", user_id=user_id, error=exc.code)
        raise Retry(defer=ctx["job_try"] * PAUSE) from exc
    _log.info("mail.sent", user_id=user_id, kind=WELCOME)
    return {"user_id": user_id, "sent": True}


async def refresh_report(ctx: Context, day: date | None = None) -> dict[str, Any]:
    """Store the number of users of each role, for today (UTC) or for the given day."""
    database: PooledDatabase = ctx["database"]
    day = day or datetime.now(UTC).date()
    async with database.session() as session:
        counts = await reports.refresh(session, day)
    _log.info("report.refreshed", day=day.isoformat())
    return {"day": day.isoformat(), **counts}


async def expire_keys(ctx: Context) -> int:
    """Delete old API keys by their retention rule; return how many.

    This is a run of `data cleanup`: it is recorded, and resumed if the worker was killed.
    """
    cleaned = await call_command(
        "data cleanup", ctx["application"], only=["api-keys"], confirm=True
    )
    return cleaned.rows


async def deliver_outbox(ctx: Context) -> dict[str, int]:
    """Deliver the effects in the outbox; return how many were delivered, by kind."""
    database: PooledDatabase = ctx["database"]
    delivered = await deliver_effects(
        database.session, HANDLERS, given={"mailer": ctx["mailer"]}, max_seconds=DELIVERY
    )
    if delivered.failed or delivered.given_up:
        _log.warning(
            "outbox.failed", failed=dict(delivered.failed), given_up=dict(delivered.given_up)
        )
    return dict(delivered.done)


async def _claim(session: AsyncSession, user_id: int, kind: str) -> bool:
    """Return whether this mail has to be sent, and store that it was sent."""
    # A concurrent run of the task waits at the primary key until this transaction ends. It sends
    # the mail only if this one is rolled back.
    row = insert(session, SentMail).values(user_id=user_id, kind=kind, sent_at=datetime.now(UTC))
    written = await session.execute(row.on_conflict_do_nothing().returning(SentMail.user_id))
    return written.first() is not None


def _welcome(user: User) -> Mail:
    return Mail(
        name=f"{WELCOME}-{user.id}",
        to=user.email,
        subject="Welcome to the shop",
        text=f"Hello {user.username},\n\nyour account is ready.\n",
    )
