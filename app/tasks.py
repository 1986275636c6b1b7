"""What the worker does. Each task may be delivered twice, and then does nothing twice.

`ctx` is ARQ's: the worker's start-up puts `application`, `database` and `mailer` into it.
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
"""Seconds until a mail that could not be sent is tried again; twice and three times that later."""

DELIVERY = 50.0
"""Seconds after which a delivery begins no other effect: the next one comes every minute."""

_log = structlog.get_logger(__name__)


async def send_welcome_mail(ctx: Context, user_id: int) -> dict[str, Any]:
    """Greet a user, once.

    The row that says so is committed after the mail was handed over: a worker that dies between
    the two sends it again, and none is lost.

    Raises:
        NotFound: There is no such user.
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
            await mailer.send(_welcome(user))
    except (Unavailable, TemporaryError) as exc:
        _log.warning("mail.postponed", user_id=user_id, error=exc.code)
        raise Retry(defer=ctx["job_try"] * PAUSE) from exc
    _log.info("mail.sent", user_id=user_id, kind=WELCOME)
    return {"user_id": user_id, "sent": True}


async def refresh_report(ctx: Context, day: date | None = None) -> dict[str, Any]:
    """Count the users of each role, of today (UTC) or of the day given."""
    database: PooledDatabase = ctx["database"]
    day = day or datetime.now(UTC).date()
    async with database.session() as session:
        counts = await reports.refresh(session, day)
    _log.info("report.refreshed", day=day.isoformat())
    return {"day": day.isoformat(), **counts}


async def expire_keys(ctx: Context) -> int:
    """Delete API keys that expired long ago, by their retention rule; return how many.

    It is a run of `data cleanup` like any other: recorded, and resumed if the worker is killed.
    """
    cleaned = await call_command(
        "data cleanup", ctx["application"], only=["api-keys"], confirm=True
    )
    return cleaned.rows


async def deliver_outbox(ctx: Context) -> dict[str, int]:
    """Deliver what transactions have left in the outbox; return what was delivered, by kind."""
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
    """Say whether this mail is still to be sent; a second delivery waits for the first's end."""
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
